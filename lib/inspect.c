/* inspect: hides how findings become sentences, and how objects are found. */
#include "inspect.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "text.h"

static void tell(struct hti_inspect *check, struct hti_inspect_finding *finding, const char *sentence)
{
    check->report->n_findings++;
    finding->sentence = sentence;
    if (check->options->finding)
        check->options->finding(check->options->user, finding);
}

void hti_inspect_tell(struct hti_inspect *check, const char *object, uint64_t page, const char *format, ...)
{
    struct hti_inspect_finding finding = {
        .path = check->data_path, .object = object, .page = page, .offset = HTI_INSPECT_NONE
    };
    char sentence[1024];
    va_list args;

    if (page != HTI_INSPECT_NONE && check->walk)
        finding.offset = page * check->walk->file.meta.page_size;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    tell(check, &finding, sentence);
}

void hti_inspect_tell_at(struct hti_inspect *check, const char *path, uint64_t offset, const char *format, ...)
{
    struct hti_inspect_finding finding = { .path = path, .page = HTI_INSPECT_NONE, .offset = offset };
    char sentence[1024];
    va_list args;

    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    tell(check, &finding, sentence);
}

void hti_inspect_leave_out(struct hti_inspect *check, const char *what)
{
    struct hti_inspect_report *report = check->report;

    if (report->n_unread < HTI_INSPECT_MAX_UNREAD)
        report->unread[report->n_unread++] = what;
}

int hti_inspect_progress(const struct hti_inspect *check, const char *step, uint64_t n_done, uint64_t n_total,
                         struct htstore_error *error)
{
    if (!check->options->progress || check->options->progress(check->options->user, step, n_done, n_total) == 0)
        return 0;
    return hti_fail(error, HTSTORE_ECANCELED, "the check was canceled");
}

struct hti_inspect_object *hti_inspect_find_object(const struct hti_inspect *check, uint64_t id)
{
    size_t low = 0, high = check->n_objects;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (check->objects[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < check->n_objects && check->objects[low].id == id ? &check->objects[low] : NULL;
}

struct hti_inspect_database *hti_inspect_find_database(const struct hti_inspect *check, uint64_t number)
{
    size_t low = 0, high = check->n_databases;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (check->databases[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low < check->n_databases && check->databases[low].number == number ? &check->databases[low] : NULL;
}

struct hti_inspect_object *hti_inspect_find_user(const struct hti_inspect *check, uint64_t database)
{
    for (size_t i = 0; i < check->n_objects; i++)
        if (check->objects[i].has_totals && check->objects[i].totals.database == database)
            return &check->objects[i];
    return NULL;
}

static const char *name_kind(const struct hti_inspect_object *object)
{
    static const char *const kinds[] = {
        [HTSTORE_KIND_TABLE] = "table", [HTSTORE_KIND_VARIABLE] = "variable", [HTSTORE_KIND_MAPPING] = "mapping"
    };

    return object->has_record ? kinds[object->record.kind] : "object";
}

const char *hti_inspect_label(const struct hti_inspect_object *object, char out[HTI_INSPECT_LABEL_SIZE])
{
    char name[HTI_INSPECT_LABEL_SIZE - 16];

    if (!object->has_record || !object->record.name) {
        snprintf(out, HTI_INSPECT_LABEL_SIZE, "%s%s number %llu", object->has_record ? "anonymous " : "",
                 name_kind(object), (unsigned long long)object->id);
        return out;
    }
    hti_text_escape(name, sizeof name, object->record.name, strlen(object->record.name));
    snprintf(out, HTI_INSPECT_LABEL_SIZE, "%s %s", name_kind(object), name);
    return out;
}
