/* cmd_version: the versions of the program, of what it was built on and of the formats. */
#include "commands.h"

static int run(struct tool *tool, void *settings, int n, char **arguments)
{
    struct json json = { &tool->out.pending, false };

    (void)settings;
    (void)n;
    (void)arguments;
    if (!tool->json) {
        buffer_printf(&tool->out.pending, "htstore %s\nlibhtstore %s\n%s\n", HTSTORE_VERSION, htstore_version(),
                      htstore_build_info());
        return STATUS_DONE;
    }
    json_document(&json);
    json_name(&json, "program");
    json_string(&json, HTSTORE_VERSION);
    json_name(&json, "library");
    json_string(&json, htstore_version());
    json_name(&json, "build");
    json_string(&json, htstore_build_info());
    json_close(&json, '}');
    tool_end_json(&tool->out);
    return STATUS_DONE;
}

static const uint8_t statuses[] = { STATUS_DONE, STATUS_FAILED, STATUS_USAGE, STATUS_SPACE, 255 };

const struct command command_version = {
    .name = "version",
    .synopsis = "",
    .summary = "print the versions of program, library and formats",
    .example = "htstore version",
    .statuses = statuses,
    .run = run,
};
