/*
 * api_objects: mappings and variables for the tests of the public API. What is made or opened here is closed by
 * objects_close(), and by objects_teardown().
 */
#ifndef API_OBJECTS_H
#define API_OBJECTS_H

#include "api_util.h"

/* The checked fixture of tests that use this; includes that of api_util. */
void objects_setup(void);
void objects_teardown(void);

void objects_close(void); /* all handles that were made or opened here */
void objects_reopen(void); /* those, and the store */
void *objects_keep(void *handle); /* let objects_close() close it too; returns it */
void objects_forget(void *handle); /* the test closes it itself */

/* New ones. `name` NULL: anonymous. */
struct htstore_mapping *new_mapping(const char *name, uint32_t flags);
struct htstore_variable *new_variable(const char *name, uint32_t role, uint32_t flags, const char *int64_value);
struct htstore_table *new_table(const char *name); /* int64 -> int64, default -1 */
/* Existing ones, of any kind. */
struct htstore_mapping *get_mapping(const char *name);
struct htstore_variable *get_variable(const char *name);
void *get_by_id(uint64_t id);

struct htstore_bytes bytes_of(const char *text);
struct htstore_bytes long_key(char fill, size_t size); /* so many equal letters */

/* What the table holds under key 0, or the scalar int64 variable. */
void set_number(void *object, int64_t value);
int64_t number_of(void *object);

/* The keys of a mapping in order, "a b c"; "-" stands for the empty key. */
const char *keys_of(struct htstore_mapping *mapping);
/* The object under a key: its number, 0 if there is none. */
uint64_t id_under(struct htstore_mapping *mapping, const char *key);
/* Names of what a walk lists, "v1 v2"; of an anonymous object "#" and its number. */
const char *walk_names(struct htstore_mapping *mapping, uint32_t aggregate);
uint64_t object_count(void); /* all that exist, anonymous ones too; for stores that gave few numbers */

/* Put, which must succeed. */
#define PUT(mapping, key, object) api_ok(API_HERE, key, objects_put(mapping, key, object))
int objects_put(struct htstore_mapping *mapping, const char *key, const void *object);
#define KEYS_ARE(mapping, keys) ck_assert_str_eq(keys_of(mapping), keys)
#define LISTS(mapping, aggregate, names) ck_assert_str_eq(walk_names(mapping, aggregate), names)

#endif
