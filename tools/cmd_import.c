/* cmd_import: reads the options of an import; loader.h does the work. */
#include "commands.h"

#include "escape.h"
#include "loader.h"
#include "number.h"
#include "path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    ID_FORMAT = OPTIONS_OWN,
    ID_ESCAPE,
    ID_HEADER,
    ID_DELIMITER,
    ID_KEY_COL,
    ID_VALUE_COL,
    ID_LINE_OFFSET,
    ID_SKIP_BLANK,
    ID_COMMENT,
    ID_SKIP_LINES,
    ID_ON_CONFLICT,
    ID_MAX_ERRORS,
    ID_REJECTS,
    ID_SKIP_ROWS,
    ID_BATCH,
    ID_REPLACE_ALL,
    ID_ACK_FD,
    ID_DURABILITY,
    ID_DATABASE,
    ID_BYTE_ORDER
};

enum { FORMAT_UNKNOWN = -1, FORMAT_TSV, FORMAT_TEXT, FORMAT_MDB };

static const char *const format_names[] = { "tsv", "text", "mdb", NULL };

struct settings {
    bool has_format, has_escape, has_max_errors, has_ack_fd, has_durability, has_batch, has_byte_order;
    int format, escape, header, policy, durability, byte_order;
    struct mdbrows_settings mdb;
    const char *delimiter, *key_column, *value_column, *line_offset;
    uint64_t skip_lines, max_errors, skip_rows, batch, ack_fd;
    struct loader_settings load; /* filled in the end; some options go there at once */
};

/* ---- options ---- */

static int set_number(struct tool *tool, struct settings *settings, int id, const char *value)
{
    static const uint64_t any[] = { 0, UINT64_MAX - 1 }, batch[] = { 1, 1u << 24 }, fd[] = { 0, 65535 };

    switch (id) {
    case ID_SKIP_LINES:
        return tool_parse_count(tool, "--skip-lines", value, any, &settings->skip_lines);
    case ID_SKIP_ROWS:
        return tool_parse_count(tool, "--skip-rows", value, any, &settings->skip_rows);
    case ID_MAX_ERRORS:
        settings->has_max_errors = true;
        return tool_parse_count(tool, "--max-errors", value, any, &settings->max_errors);
    case ID_BATCH:
        settings->has_batch = true;
        return tool_parse_count(tool, "--batch", value, batch, &settings->batch);
    case ID_ACK_FD:
    default:
        settings->has_ack_fd = true;
        return tool_parse_count(tool, "--ack-fd", value, fd, &settings->ack_fd);
    }
}

static int set_word(struct tool *tool, struct settings *settings, int id, const char *value)
{
    static const char *const escapes[] = { "tsv", "none", NULL };
    static const char *const headers[] = { "no", "yes", NULL };
    static const char *const policies[] = { "error", "keep", "replace", NULL }; /* enum merge_policy */
    static const char *const durabilities[] = { "sync", "interval", "lazy", NULL };
    static const char *const byte_orders[] = { "little", "big", NULL };

    switch (id) {
    case ID_BYTE_ORDER:
        settings->has_byte_order = true;
        return tool_parse_word(tool, "--byte-order", value, byte_orders, &settings->byte_order);
    case ID_FORMAT:
        settings->has_format = true;
        return tool_parse_word(tool, "--format", value, format_names, &settings->format);
    case ID_ESCAPE:
        settings->has_escape = true;
        return tool_parse_word(tool, "--escape", value, escapes, &settings->escape);
    case ID_HEADER:
        return tool_parse_word(tool, "--header", value, headers, &settings->header);
    case ID_ON_CONFLICT:
        return tool_parse_word(tool, "--on-conflict", value, policies, &settings->policy);
    case ID_DURABILITY:
    default:
        settings->has_durability = true;
        return tool_parse_word(tool, "--durability", value, durabilities, &settings->durability);
    }
}

static int set(struct tool *tool, void *user, int id, const char *value)
{
    struct settings *settings = user;

    switch (id) {
    case ID_FORMAT:
    case ID_ESCAPE:
    case ID_HEADER:
    case ID_ON_CONFLICT:
    case ID_DURABILITY:
    case ID_BYTE_ORDER:
        return set_word(tool, settings, id, value);
    case ID_DATABASE:
        settings->mdb.database = value;
        break;
    case ID_DELIMITER:
        settings->delimiter = value;
        break;
    case ID_KEY_COL:
        settings->key_column = value;
        break;
    case ID_VALUE_COL:
        settings->value_column = value;
        break;
    case ID_LINE_OFFSET:
        settings->line_offset = value;
        break;
    case ID_SKIP_BLANK:
        settings->load.reader.skip_blank = true;
        break;
    case ID_COMMENT:
        settings->load.reader.comment = value;
        break;
    case ID_REJECTS:
        settings->load.rejects_path = value;
        break;
    case ID_REPLACE_ALL:
        settings->load.replace_all = true;
        break;
    default:
        return set_number(tool, settings, id, value);
    }
    return STATUS_DONE;
}

/* ---- the format of lines ---- */

static int choose_format(const struct tool *tool, struct settings *settings, const char *path)
{
    size_t size = path != NULL ? strlen(path) : 0;

    if (settings->has_format)
        return STATUS_DONE;
    if (size >= 4 && strcmp(path + size - 4, ".tsv") == 0)
        settings->format = FORMAT_TSV;
    else if (size >= 4 && strcmp(path + size - 4, ".txt") == 0)
        settings->format = FORMAT_TEXT;
    else if (size >= 5 && strcmp(path + size - 5, ".dump") == 0)
        settings->format = FORMAT_MDB;
    else
        return tool_fail_usage(tool, "%s: give --format=tsv, --format=text or --format=mdb",
                               path == NULL || strcmp(path, "-") == 0
                                   ? "standard input has no name that tells its format"
                                   : "the name does not end in .tsv, .txt or .dump");
    return STATUS_DONE;
}

static int parse_delimiter(const struct tool *tool, const char *text, char *delimiter)
{
    char byte[4];
    size_t n = 0, size = strlen(text);

    if (size == 0 || size > sizeof byte || escape_read(text, size, byte, &n) != 0 || n != 1 || byte[0] == '\n')
        return tool_fail_usage(tool, "--delimiter takes one byte, such as , or \\t or \\x1f");
    *delimiter = byte[0];
    return STATUS_DONE;
}

/* "whole", "line", "N" or, with `last`, "N-M". */
static int parse_columns(const struct tool *tool, const char *option, const char *text, enum tsv_source *source,
                         uint64_t range[2])
{
    const char *dash = strchr(text, '-');
    size_t size = strlen(text);
    size_t first_size = dash != NULL ? (size_t)(dash - text) : size;

    *source = TSV_COLUMN;
    if (strcmp(text, "whole") == 0) {
        *source = TSV_WHOLE;
        return STATUS_DONE;
    }
    if (strcmp(text, "line") == 0) {
        *source = TSV_LINE;
        return STATUS_DONE;
    }
    if (number_parse(HTSTORE_UINT64, text, first_size, &range[0]) != NUMBER_OK)
        return tool_fail_usage(tool, "%s takes a column from 0, whole or line, not \"%s\"", option, text);
    range[1] = range[0];
    if (dash != NULL && number_parse(HTSTORE_UINT64, dash + 1, size - first_size - 1, &range[1]) != NUMBER_OK)
        return tool_fail_usage(tool, "%s takes columns as N or N-M, not \"%s\"", option, text);
    if (range[1] < range[0] || range[1] > UINT32_MAX)
        return tool_fail_usage(tool, "%s: \"%s\" is no range of columns", option, text);
    return STATUS_DONE;
}

/* The value has `width` elements: as many columns, or one whole line, or one line number. */
static int check_width(const struct tool *tool, const struct tsv_format *format, size_t width)
{
    size_t given = format->value == TSV_COLUMN ? format->last_column - format->first_column + 1 : 1;

    if (given == width || format->no_columns)
        return STATUS_DONE;
    return tool_fail(tool, STATUS_TYPE, tool->store,
                     "a value of this table has %zu elements, --value-col gives %zu; give --value-col=N-M", width,
                     given);
}

static int make_format(const struct tool *tool, const struct settings *settings, const struct rows_layout *layout,
                       struct tsv_format *format)
{
    bool is_tsv = settings->format == FORMAT_TSV;
    uint64_t key[2] = { 0, 0 }, value[2] = { 1, layout->width };
    int status = STATUS_DONE;

    format->escapes = settings->has_escape ? settings->escape == 0 : is_tsv;
    format->drop_cr = !is_tsv;
    format->exact = is_tsv && settings->key_column == NULL && settings->value_column == NULL;
    format->delimiter = '\t';
    format->key = is_tsv ? TSV_COLUMN : TSV_WHOLE;
    format->value = is_tsv ? TSV_COLUMN : TSV_LINE;
    if (settings->delimiter != NULL)
        status = parse_delimiter(tool, settings->delimiter, &format->delimiter);
    if (status == STATUS_DONE && settings->key_column != NULL)
        status = parse_columns(tool, "--key-col", settings->key_column, &format->key, key);
    if (status == STATUS_DONE && settings->value_column != NULL)
        status = parse_columns(tool, "--value-col", settings->value_column, &format->value, value);
    if (status == STATUS_DONE && key[0] != key[1])
        status = tool_fail_usage(tool, "--key-col takes one column");
    if (status == STATUS_DONE && settings->line_offset != NULL &&
        number_parse(HTSTORE_INT64, settings->line_offset, strlen(settings->line_offset), &format->line_offset) !=
            NUMBER_OK)
        status = tool_fail_usage(tool, "--line-offset takes a whole number, not \"%s\"", settings->line_offset);
    if (status != STATUS_DONE)
        return status;
    format->key_column = (size_t)key[0];
    format->first_column = (size_t)value[0];
    format->last_column = (size_t)value[1];
    format->no_columns = layout->width == 0;
    return check_width(tool, format, layout->width);
}

/* ---- running ---- */

static int check_usage(const struct tool *tool, const struct settings *settings)
{
    if (settings->has_ack_fd && fcntl((int)settings->ack_fd, F_GETFD) < 0)
        return tool_fail_usage(tool, "--ack-fd: descriptor %d is not open", (int)settings->ack_fd);
    if (settings->has_ack_fd && (tool->dry_run || settings->load.replace_all))
        return tool_fail_usage(tool, "--ack-fd does not go with %s", tool->dry_run ? "--dry-run" : "--replace-all");
    if (settings->load.replace_all && (settings->skip_rows > 0 || settings->has_batch))
        return tool_fail_usage(tool, "--replace-all does not go with --skip-rows or --batch");
    if (settings->load.rejects_path != NULL && tool->dry_run)
        return tool_fail_usage(tool, "--rejects does not go with --dry-run; give --max-errors=N");
    return STATUS_DONE;
}

/* Options that are about lines go with text, those about sections with dumps. */
static int check_format(const struct tool *tool, const struct settings *settings)
{
    const struct reader_settings *reader = &settings->load.reader;

    if (settings->format != FORMAT_MDB) {
        if (settings->mdb.database != NULL || settings->has_byte_order)
            return tool_fail_usage(tool, "%s goes with --format=mdb only",
                                   settings->has_byte_order ? "--byte-order" : "--database");
        return STATUS_DONE;
    }
    if (settings->load.rejects_path != NULL)
        return tool_fail_usage(tool, "--rejects does not go with --format=mdb; give --max-errors=N");
    if (settings->has_escape || settings->header == 1 || settings->delimiter != NULL || settings->key_column != NULL ||
        settings->value_column != NULL || settings->line_offset != NULL || settings->skip_lines > 0 ||
        reader->skip_blank || reader->comment != NULL)
        return tool_fail_usage(tool, "options about lines and columns do not go with --format=mdb");
    return STATUS_DONE;
}

static int open_input(const struct tool *tool, const char *path, struct reader_settings *reader)
{
    reader->fd = STDIN_FILENO;
    reader->source = "standard input";
    if (path == NULL && isatty(STDIN_FILENO) == 1)
        return tool_fail_usage(tool, "standard input is a terminal; give FILE, or - to type rows");
    if (path == NULL || strcmp(path, "-") == 0)
        return STATUS_DONE;
    reader->source = path;
    reader->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (reader->fd >= 0)
        return STATUS_DONE;
    return tool_fail(tool, status_from_errno(errno), path, "cannot open it: %s", strerror(errno));
}

/* What the options mean together. */
static void complete(const struct tool *tool, struct settings *settings)
{
    static const uint32_t durabilities[] = { HTSTORE_SYNC, HTSTORE_INTERVAL, HTSTORE_LAZY };
    struct loader_settings *load = &settings->load;

    load->reader.skip_lines = settings->skip_lines + (settings->header == 1 ? 1 : 0);
    load->reader.skip_rows = settings->skip_rows;
    load->reader.keep_lines = load->rejects_path != NULL;
    load->reader.batch_rows = settings->has_batch ? settings->batch : 8192;
    if (load->replace_all || tool->dry_run)
        load->reader.batch_rows = UINT64_MAX;
    settings->mdb.big_endian = settings->byte_order == 1;
    load->reader.mdb = settings->format == FORMAT_MDB ? &settings->mdb : NULL;
    load->policy = (enum merge_policy)settings->policy;
    load->max_errors = settings->max_errors;
    if (!settings->has_max_errors && load->rejects_path != NULL)
        load->max_errors = UINT64_MAX;
    load->ack_fd = settings->has_ack_fd ? (int)settings->ack_fd : -1;
    load->durability = settings->has_ack_fd ? HTSTORE_SYNC : HTSTORE_LAZY;
    if (settings->has_durability)
        load->durability = durabilities[settings->durability];
}

static int import_into(struct tool *tool, struct settings *settings, struct htstore *store, const char *argument)
{
    struct htstore_table *table = NULL;
    struct rows_layout layout;
    int status = path_open_table(tool, store, argument, &table, &layout);

    if (status == STATUS_DONE && settings->format != FORMAT_MDB)
        status = make_format(tool, settings, &layout, &settings->load.reader.format);
    if (status == STATUS_DONE)
        status = loader_run(tool, &settings->load, store, table, &layout);
    htstore_table_close(table, NULL);
    return status;
}

static int run(struct tool *tool, void *user, int n, char **arguments)
{
    struct settings *settings = user;
    const char *path = n > 2 ? arguments[2] : NULL;
    uint32_t flags = (tool->dry_run ? HTSTORE_READONLY : 0) | HTSTORE_NO_PRELOAD;
    struct htstore *store;
    int status = check_usage(tool, settings);

    tool->store = arguments[0];
    if (status == STATUS_DONE)
        status = choose_format(tool, settings, path);
    if (status == STATUS_DONE)
        status = check_format(tool, settings);
    if (status != STATUS_DONE)
        return status;
    complete(tool, settings);
    status = open_input(tool, path, &settings->load.reader);
    if (status != STATUS_DONE)
        return status;
    status = tool_open(tool, flags, &store);
    if (status == STATUS_DONE)
        status = tool_close(tool, store, import_into(tool, settings, store, arguments[1]));
    if (settings->load.reader.fd != STDIN_FILENO)
        close(settings->load.reader.fd);
    return status;
}

static const struct option_entry options[] = {
    { ID_FORMAT, 0, "format", "tsv|text|mdb",
      "default: by the end of the name, .tsv, .txt or .dump. tsv: the key in\n"
      "column 0, the elements of the value in the next ones, no others, with\n"
      "escapes. text: the key is the whole line, the value its number; no\n"
      "escapes, one CR at the end of a line is dropped. mdb: what mdb_dump or\n"
      "db_dump writes; options about lines and columns do not go with it" },
    { ID_DATABASE, 0, "database", "NAME", "mdb: the section of the dump; default the first one" },
    { ID_BYTE_ORDER, 0, "byte-order", "little|big", "mdb: of numbers in keys and values; default little" },
    { ID_ESCAPE, 0, "escape", "tsv|none", "whether \\\\ \\t \\n \\r \\xHH are escapes; any other \\ refuses a row" },
    { ID_HEADER, 0, "header", "yes|no", "yes: the first line is no row; default no" },
    { ID_DELIMITER, 0, "delimiter", "BYTE", "what separates columns; default \\t" },
    { ID_KEY_COL, 0, "key-col", "COLUMN", "a column from 0, or whole: the line, or line: its number" },
    { ID_VALUE_COL, 0, "value-col", "COLUMN", "N or N-M, or whole, or line. Columns behind the last are ignored" },
    { ID_LINE_OFFSET, 0, "line-offset", "N",
      "number of the first row, for line; default 0. Lines that are no rows\ndo not count" },
    { ID_SKIP_BLANK, 0, "skip-blank", NULL, "empty lines are no rows" },
    { ID_COMMENT, 0, "comment", "TEXT", "lines that start with TEXT are no rows" },
    { ID_SKIP_LINES, 0, "skip-lines", "N", "the first N lines are no rows" },
    { ID_ON_CONFLICT, 0, "on-conflict", "error|keep|replace",
      "what to do with a row whose key is in the table, or earlier in the\n"
      "input, with another value: refuse the row (default), keep the old\n"
      "value, or replace it" },
    { ID_MAX_ERRORS, 0, "max-errors", "N", "refused rows before the import ends; default 0, any with --rejects" },
    { ID_REJECTS, 0, "rejects", "FILE", "set refused rows aside in FILE, to be mended and imported again" },
    { ID_SKIP_ROWS, 0, "skip-rows", "N", "go on behind row N of the input, after an import that ended early" },
    { ID_BATCH, 0, "batch", "N", "rows that are written in one atomic step; default 8192" },
    { ID_REPLACE_ALL, 0, "replace-all", NULL,
      "exactly these rows instead of those in the table, in one atomic step;\n"
      "they must fit in memory" },
    { ID_ACK_FD, 0, "ack-fd", "N",
      "for tests and supervisors: after each batch, write the number of input\n"
      "rows that are in the table for good as a line to descriptor N, with one\n"
      "write(2). Batches are then written with --durability=sync" },
    { ID_DURABILITY, 0, "durability", "sync|interval|lazy",
      "when a batch survives a power cut; default lazy, with a flush at the\n"
      "end. A killed process loses no batch in any mode" },
    { 0 },
};

static const uint8_t statuses[] = { STATUS_DONE,     STATUS_FAILED,   STATUS_USAGE,       STATUS_MISSING,
                                    STATUS_CONFLICT, STATUS_DAMAGED,  STATUS_BUSY,        STATUS_TYPE,
                                    STATUS_SPACE,    STATUS_WARNINGS, STATUS_INTERRUPTED, 255 };

const struct command command_import = {
    .name = "import",
    .synopsis = "STORE TABLE [FILE]",
    .summary = "add the rows of a text file to a table",
    .details = "FILE - and no FILE are standard input. Status 0 means that all rows are on disk. A batch is atomic,\n"
               "the whole import is not: if it ends early, it says how many rows are in, and --skip-rows goes on\n"
               "there. The last line on stderr counts rows: read, inserted, replaced, kept (another value was kept),\n"
               "equal (the same row was there), rejected. Status 4: a conflict ended it; 7: a row that does not fit\n"
               "ended it; 10: it finished, with refused rows. Rows and lines count from 1, columns from 0.",
    .example = "htstore import S words --format=text /usr/share/dict/words\n"
               "htstore import S cities cities.tsv --on-conflict=replace --rejects=bad.tsv",
    .options = options,
    .takes = OPTIONS_DRY_RUN | OPTIONS_FORCE | OPTIONS_TIMEOUT | OPTIONS_PROGRESS,
    .statuses = statuses,
    .min_arguments = 2,
    .max_arguments = 3,
    .settings_size = sizeof(struct settings),
    .set = set,
    .run = run,
};
