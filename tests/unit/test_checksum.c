#include "daemon/math/checksum.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* Both ends of a link may be of different builds, so the function is part of the contract: values
 * of XXH3-64, seed 0, as the specification's reference gives them. */
static void it_is_xxh3_64(void **state)
{
    (void)state;
    assert_true(checksum_xxh3("", 0) == UINT64_C(0x2D06800538D394C2));
    assert_true(checksum_xxh3(NULL, 0) == UINT64_C(0x2D06800538D394C2));
    assert_true(checksum_xxh3("a", 1) == UINT64_C(0xE6C632B61E964E1F));
    assert_true(checksum_xxh3("abc", 3) == UINT64_C(0x78AF5F94892F3950));
}

static void any_changed_bit_changes_it(void **state)
{
    (void)state;
    enum { BYTES = 1000 };
    uint8_t *bytes = malloc(BYTES);

    for (size_t i = 0; i < BYTES; i++) {
        bytes[i] = (uint8_t)(i * 7);
    }
    const uint64_t sum = checksum_xxh3(bytes, BYTES);
    for (size_t i = 0; i < BYTES; i++) {
        bytes[i] ^= (uint8_t)(1 << i % 8);
        assert_true(checksum_xxh3(bytes, BYTES) != sum);
        bytes[i] ^= (uint8_t)(1 << i % 8);
    }
    assert_true(checksum_xxh3(bytes, BYTES) == sum);
    assert_true(checksum_xxh3(bytes, BYTES - 1) != sum);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_xxh3_64),
        cmocka_unit_test(any_changed_bit_changes_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
