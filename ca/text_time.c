/* RFC 3339 times and ISO 8601 durations. */
#include "text.h"
#include <stdio.h>
#include <string.h>
#include <time.h>

#define DAY 86400
#define TIME_MAX INT64_C(253402300799) /* 9999-12-31T23:59:59Z */
#define DURATION_MAX (INT64_C(100) * 365 * DAY)

void
time_format(int64_t seconds, char ret_text[21])
{
    time_t when = seconds < 0 ? 0 : seconds > TIME_MAX ? TIME_MAX : seconds;
    struct tm tm;
    gmtime_r(&when, &tm);
    strftime(ret_text, 21, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

/* Exactly `digits` decimal digits, moving `at` behind them; -1 when they are not. */
static int
number_take(const char **at, int digits)
{
    int value = 0;
    for (int i = 0; i < digits; i++) {
        if (**at < '0' || **at > '9')
            return -1;
        value = value * 10 + (*(*at)++ - '0');
    }
    return value;
}

static bool
character_take(const char **at, const char *any_of)
{
    if (**at == '\0' || !strchr(any_of, **at))
        return false;
    (*at)++;
    return true;
}

static int
month_days(int year, int month)
{
    static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && is_leap ? 29 : days[month - 1];
}

/* RFC 3339 section 5.6, full-date "T" partial-time. */
static bool
local_time_take(const char **at, struct tm *ret_tm)
{
    int year = number_take(at, 4);
    bool holds = year >= 1970 && character_take(at, "-");
    int month = holds ? number_take(at, 2) : -1;
    holds = month >= 1 && month <= 12 && character_take(at, "-");
    int day = holds ? number_take(at, 2) : -1;
    holds = day >= 1 && day <= month_days(year, month) && character_take(at, "Tt");
    int hour = holds ? number_take(at, 2) : -1;
    holds = hour >= 0 && hour <= 23 && character_take(at, ":");
    int minute = holds ? number_take(at, 2) : -1;
    holds = minute >= 0 && minute <= 59 && character_take(at, ":");
    int second = holds ? number_take(at, 2) : -1;
    if (second < 0 || second > 59)
        return false;
    if (character_take(at, ".")) {
        if (number_take(at, 1) < 0)
            return false;
        while (**at >= '0' && **at <= '9')
            (*at)++;
    }
    *ret_tm = (struct tm){ .tm_year = year - 1900,
                           .tm_mon = month - 1,
                           .tm_mday = day,
                           .tm_hour = hour,
                           .tm_min = minute,
                           .tm_sec = second };
    return true;
}

/* time-offset: "Z" or +hh:mm. */
static bool
offset_take(const char **at, int *ret_seconds)
{
    if (character_take(at, "Zz")) {
        *ret_seconds = 0;
        return true;
    }
    bool is_west = **at == '-';
    if (!character_take(at, "+-"))
        return false;
    int hours = number_take(at, 2);
    if (hours < 0 || hours > 23 || !character_take(at, ":"))
        return false;
    int minutes = number_take(at, 2);
    if (minutes < 0 || minutes > 59)
        return false;
    int seconds = hours * 3600 + minutes * 60;
    *ret_seconds = is_west ? -seconds : seconds;
    return true;
}

bool
time_parse(const char *text, int64_t *ret_seconds)
{
    const char *at = text;
    struct tm tm;
    int offset;
    if (!local_time_take(&at, &tm) || !offset_take(&at, &offset) || *at)
        return false;
    int64_t seconds = (int64_t)timegm(&tm) - offset;
    if (seconds < 0 || seconds > TIME_MAX)
        return false;
    *ret_seconds = seconds;
    return true;
}

/* In the order of ISO 8601; the date's designators stand before 'T'. */
static const struct {
    char designator;
    bool is_time;
    int64_t seconds;
} duration_units[] = {
    { 'Y', false, 365 * DAY }, { 'M', false, 30 * DAY }, { 'D', false, DAY },
    { 'H', true, 3600 },       { 'M', true, 60 },        { 'S', true, 1 },
};
#define DURATION_UNITS (sizeof duration_units / sizeof duration_units[0])

/* Digits up to `DURATION_MAX`, moving `at` behind them; -1 when there are none. */
static int64_t
count_take(const char **at)
{
    const char *start = *at;
    int64_t count = 0;
    while (**at >= '0' && **at <= '9') {
        count = count * 10 + (*(*at)++ - '0');
        if (count > DURATION_MAX)
            return -1;
    }
    return *at == start ? -1 : count;
}

static bool
is_weeks(const char *text, int64_t *ret_seconds)
{
    const char *at = text;
    int64_t weeks = count_take(&at);
    if (weeks < 0 || strcmp(at, "W") != 0 || weeks > DURATION_MAX / (7 * DAY))
        return false;
    *ret_seconds = weeks * 7 * DAY;
    return true;
}

bool
duration_parse(const char *text, int64_t *ret_seconds)
{
    const char *at = text;
    if (!character_take(&at, "P"))
        return false;
    if (is_weeks(at, ret_seconds))
        return true;
    int64_t total = 0;
    bool is_time = false;
    size_t unit = 0;
    do {
        if (!is_time && character_take(&at, "T"))
            is_time = true;
        int64_t count = count_take(&at);
        while (unit < DURATION_UNITS && (duration_units[unit].designator != *at ||
                                         duration_units[unit].is_time != is_time))
            unit++;
        if (count < 0 || unit == DURATION_UNITS)
            return false;
        if (count > (DURATION_MAX - total) / duration_units[unit].seconds)
            return false;
        total += count * duration_units[unit].seconds;
        unit++;
        at++;
    } while (*at);
    *ret_seconds = total;
    return true;
}

void
duration_format(int64_t seconds, char ret_text[32])
{
    static const struct {
        const char *before;
        char designator;
        int64_t seconds;
    } units[] = {
        { "", 'D', DAY }, { "T", 'H', 3600 }, { "T", 'M', 60 }, { "T", 'S', 1 }
    };
    int64_t left = seconds < 0 ? 0 : seconds;
    if (left == 0) {
        strcpy(ret_text, "PT0S");
        return;
    }
    int used = snprintf(ret_text, 32, "P");
    bool has_time = false;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        int64_t count = left / units[i].seconds;
        left %= units[i].seconds;
        if (count == 0)
            continue;
        used += snprintf(ret_text + used, (size_t)(32 - used), "%s%lld%c",
                         has_time ? "" : units[i].before, (long long)count,
                         units[i].designator);
        has_time = *units[i].before != '\0';
    }
}
