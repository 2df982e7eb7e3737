/* text: hides the rules of UTF-8 (RFC 3629, Unicode table 3-7) and of escaping. */
#include "text.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

#define ELLIPSIS "\xE2\x80\xA6"
#define ELLIPSIS_SIZE (sizeof ELLIPSIS - 1)
#define TOKEN_MAX 4

/* Size of the character at p, which has `left` >= 1 bytes; 0 if it is not well-formed UTF-8. */
static size_t character_size(const uint8_t *p, size_t left)
{
    uint8_t low = 0x80, high = 0xBF; /* bounds of the second byte */
    size_t size;
    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xC2 || p[0] > 0xF4)
        return 0;
    if (p[0] < 0xE0) {
        size = 2;
    } else if (p[0] < 0xF0) {
        size = 3;
        low = p[0] == 0xE0 ? 0xA0 : 0x80; /* no overlong forms */
        high = p[0] == 0xED ? 0x9F : 0xBF; /* no surrogates */
    } else {
        size = 4;
        low = p[0] == 0xF0 ? 0x90 : 0x80;
        high = p[0] == 0xF4 ? 0x8F : 0xBF; /* nothing above U+10FFFF */
    }
    if (left < size || p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < size; i++)
        if (p[i] < 0x80 || p[i] > 0xBF)
            return 0;
    return size;
}

bool hti_text_is_valid(const void *data, size_t size)
{
    const uint8_t *p = data;
    for (size_t i = 0; i < size;) {
        size_t step = p[i] == 0 ? 0 : character_size(p + i, size - i);
        if (step == 0)
            return false;
        i += step;
    }
    return true;
}

static bool is_control(const uint8_t *p, size_t size)
{
    if (size == 1)
        return p[0] < 0x20 || p[0] == 0x7F;
    return size == 2 && p[0] == 0xC2 && p[1] < 0xA0; /* U+0080 to U+009F */
}

/* Write what stands for the bytes at p. Returns its size and sets *used to the bytes that it stands for. */
static size_t make_token(char token[TOKEN_MAX], const uint8_t *p, size_t left, size_t *used)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t size = character_size(p, left);
    if (size > 0 && !is_control(p, size)) {
        *used = size;
        if (p[0] != '\\') {
            memcpy(token, p, size);
            return size;
        }
        memcpy(token, "\\\\", 2);
        return 2;
    }
    *used = 1;
    token[0] = '\\';
    token[1] = 'x';
    token[2] = digits[p[0] >> 4];
    token[3] = digits[p[0] & 15];
    return 4;
}

void hti_text_escape(char *out, size_t capacity, const void *data, size_t size)
{
    assert(capacity >= 8);
    const uint8_t *p = data;
    const size_t room = capacity - 1;
    size_t written = 0;
    size_t cut = 0; /* the last boundary that leaves room for an ellipsis */
    for (size_t i = 0; i < size;) {
        char token[TOKEN_MAX];
        size_t used;
        size_t token_size = make_token(token, p + i, size - i, &used);
        if (written + token_size > room) {
            memcpy(out + cut, ELLIPSIS, ELLIPSIS_SIZE);
            out[cut + ELLIPSIS_SIZE] = '\0';
            return;
        }
        memcpy(out + written, token, token_size);
        written += token_size;
        i += used;
        if (written + ELLIPSIS_SIZE <= room)
            cut = written;
    }
    out[written] = '\0';
}
