/* The leak check of one test: Criterion's workers end without LeakSanitizer's own. */
#pragma once

#include <criterion/criterion.h>

#ifndef __has_feature
#define __has_feature(x) 0
#endif

#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#include <sanitizer/lsan_interface.h>
#define LEAK_CHECK() cr_assert(__lsan_do_recoverable_leak_check() == 0, "memory leaks")
#else
#define LEAK_CHECK() ((void)0)
#endif
