/* number: elements of every dtype but string as text, strict on input, shortest exact on output. */
#ifndef TOOLS_NUMBER_H
#define TOOLS_NUMBER_H

#include <stddef.h>
#include <stdint.h>

#define NUMBER_TEXT_SIZE 32 /* bytes that the text of any element fits, its NUL included */

enum number_result {
    NUMBER_OK = 0,
    NUMBER_SYNTAX = 1, /* not a number of that dtype */
    NUMBER_RANGE = 2 /* a number, but outside of the dtype */
};

/*
 * Read one element. Integers are decimal digits with an optional minus; floats are decimal with an optional exponent, or
 * nan, inf, infinity in any letter case with an optional minus; bool is true, false, 1 or 0. Blanks, a plus sign, hexadecimal
 * and nan(...) are refused. `element` is written only on success and need not be aligned.
 */
enum number_result number_parse(uint32_t dtype, const char *text, size_t size, void *element);

/* Write one element, with a NUL; the fewest digits that read back equal. Returns the length. */
size_t number_print(uint32_t dtype, const void *element, char text[NUMBER_TEXT_SIZE]);

/* IEEE 754 binary16 and bfloat16 from and to binary32: to nearest, ties to even. */
uint16_t number_half_from_float(float value);
float number_float_from_half(uint16_t half);
uint16_t number_bfloat_from_float(float value);
float number_float_from_bfloat(uint16_t bfloat);

#endif
