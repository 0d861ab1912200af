/* The scep profile that counts for a device, with all that its names are made of: what
 * managed and activated devices are offered alike. */
#pragma once

#include "device.h"
#include "names.h"
#include "organisation.h"
#include "profile.h"
#include "user.h"

struct scep_effective {
    struct profile scep, certificate;
    bool is_default; /* the scep profile: nobody assigned it */
    struct organisation organisation;
    struct user owner;
    struct device device;
};

/* The profiles alone: the effective scep profile of the user and what it issues by.
 * Clear it in any case. CA_NOT_FOUND. */
enum ca_status scep_effective_profiles(struct store_tx *tx, const char *user,
                                       struct scep_effective *effective);
/* The other records. */
enum ca_status scep_effective_records(struct store_tx *tx, const char *user,
                                      const char *device,
                                      struct scep_effective *effective);
/* The names of the device's certificate; names_clear them. The statuses of names.h. */
enum ca_status scep_effective_names(const struct scep_effective *effective,
                                    struct names *ret_names);
/* Also makes a zeroed one ready. */
void scep_effective_clear(struct scep_effective *effective);
static inline void __attribute__((unused))
scep_effective_clear_auto(struct scep_effective *effective)
{
    scep_effective_clear(effective);
}
