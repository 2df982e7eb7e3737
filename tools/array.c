/* array: hides that a variable is read and printed in slices. */
#include "array.h"

#include "rows.h"
#include "tool.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK_SIZE ((size_t)1 << 20) /* bytes of elements read at once, if a sub-array is not larger */

struct printer {
    struct tool *tool;
    struct htstore_variable *variable;
    struct htstore_array type; /* dtype and shape of the whole */
    struct htstore_arena *arena;
    void *elements;
    size_t width; /* elements of a sub-array along the first dimension */
    int64_t n, block; /* sub-arrays; of them read at once */
    struct json json;
};

static void measure(struct printer *printer)
{
    const struct htstore_array *type = &printer->type;
    size_t size;

    printer->width = 1;
    for (uint32_t i = 1; i < type->rank; i++)
        printer->width *= (size_t)type->shape[i];
    printer->n = type->rank > 0 ? type->shape[0] : 1;
    size = printer->width * htstore_dtype_size(type->dtype);
    printer->block = size > 0 && size < BLOCK_SIZE ? (int64_t)(BLOCK_SIZE / size) : 1;
    if (printer->block > printer->n)
        printer->block = printer->n;
    printer->elements = memory_new((size_t)printer->block * printer->width, htstore_dtype_size(type->dtype));
}

/* Sub-arrays begin to begin + n - 1; a scalar is one. */
static int read_block(struct printer *printer, int64_t begin, int64_t n, struct htstore_error *error)
{
    struct htstore_array value = printer->type;

    htstore_arena_reset(printer->arena);
    value.data = printer->elements;
    value.arena = printer->arena;
    if (value.rank == 0)
        return htstore_variable_read(printer->variable, &value, error);
    value.shape[0] = n;
    return htstore_variable_read_slice(printer->variable, begin, &value, error);
}

static void write_text(struct printer *printer, int64_t index, const char *elements)
{
    struct buffer *out = &printer->tool->out.pending;
    bool first = printer->type.rank >= 2 || index == 0;

    for (size_t i = 0; i < printer->width; i++, first = false) {
        if (!first)
            buffer_add(out, '\t');
        rows_write_element(out, printer->type.dtype, elements + i * htstore_dtype_size(printer->type.dtype));
        output_drain(&printer->tool->out);
    }
    if (printer->type.rank >= 2 || index + 1 == printer->n)
        buffer_add(out, '\n');
}

static void write_block(struct printer *printer, int64_t begin, int64_t n)
{
    const struct htstore_array *type = &printer->type;
    size_t size = printer->width * htstore_dtype_size(type->dtype);

    for (int64_t i = 0; i < n; i++) {
        const char *elements = (const char *)printer->elements + (size_t)i * size;

        if (!printer->tool->json)
            write_text(printer, begin + i, elements);
        else if (type->rank == 0)
            json_element(&printer->json, type->dtype, elements);
        else
            json_value(&printer->json, type->dtype, type->rank - 1, type->shape + 1, elements);
        output_drain(&printer->tool->out);
    }
}

static int write_value(struct printer *printer)
{
    struct htstore_error error;

    for (int64_t begin = 0; begin < printer->n && printer->tool->out.error == 0; begin += printer->block) {
        int64_t n = printer->n - begin < printer->block ? printer->n - begin : printer->block;

        if (read_block(printer, begin, n, &error) < 0)
            return tool_fail_library(printer->tool, printer->tool->table, &error);
        write_block(printer, begin, n);
    }
    if (printer->n == 0 && printer->type.rank < 2 && !printer->tool->json)
        buffer_add(&printer->tool->out.pending, '\n');
    return STATUS_DONE;
}

static int write_document(struct printer *printer, uint64_t lsn)
{
    struct json *json = &printer->json;
    const char *dtype = htstore_dtype_name(printer->type.dtype);
    int status;

    json_document(json);
    json_name(json, "lsn");
    json_count(json, lsn);
    json_name(json, "value_dtype");
    json_string(json, dtype != NULL ? dtype : "unknown");
    json_name(json, "value_shape");
    json_open(json, '[');
    for (uint32_t i = 0; i < printer->type.rank; i++)
        json_count(json, (uint64_t)printer->type.shape[i]);
    json_close(json, ']');
    json_name(json, "value");
    if (printer->type.rank > 0)
        json_open(json, '[');
    status = write_value(printer);
    if (status != STATUS_DONE) {
        printer->tool->out.pending.size = 0; /* no document that looks whole */
        return status;
    }
    if (printer->type.rank > 0)
        json_close(json, ']');
    json_close(json, '}');
    tool_end_json(&printer->tool->out);
    return status;
}

int array_write_variable(struct tool *tool, struct htstore_variable *variable, uint64_t lsn)
{
    struct htstore_variable_schema schema = { .size = sizeof schema };
    struct printer printer = { .tool = tool, .variable = variable, .json = { &tool->out.pending, false } };
    struct htstore_error error;
    int status;

    if (htstore_variable_schema(variable, &schema, &error) < 0 || htstore_arena_new(&printer.arena, &error) < 0)
        return tool_fail_library(tool, tool->table, &error);
    printer.type = schema.initial_value;
    measure(&printer);
    status = tool->json ? write_document(&printer, lsn) : write_value(&printer);
    free(printer.elements);
    htstore_arena_free(printer.arena);
    return status;
}
