/* The effective scep profile of a device, loaded in one snapshot. */
#include "scep_effective.h"
#include "assignment.h"
#include "auto.h"
#include <string.h>

void
scep_effective_clear(struct scep_effective *effective)
{
    effective->scep.kind = PROFILE_SCEP;
    profile_clear(&effective->scep);
    effective->certificate.kind = PROFILE_CERTIFICATE;
    profile_clear(&effective->certificate);
    organisation_clear(&effective->organisation);
    user_clear(&effective->owner);
    device_clear(&effective->device);
    effective->scep.kind = PROFILE_SCEP;
}

enum ca_status
scep_effective_profiles(struct store_tx *tx, const char *user,
                        struct scep_effective *effective)
{
    CA_AUTO(free) char *name = NULL;
    CA_AUTO(free) char *from = NULL;
    enum ca_status status =
        assignment_effective(tx, user, profile_kind_words[PROFILE_SCEP], &name, &from);
    effective->is_default = status == CA_OK && strcmp(from, "default") == 0;
    if (status == CA_OK)
        status = profile_load(tx, PROFILE_SCEP, name, &effective->scep);
    if (status == CA_OK)
        status = profile_load(tx, PROFILE_CERTIFICATE,
                              effective->scep.settings.scep.certificate,
                              &effective->certificate);
    return status;
}

enum ca_status
scep_effective_records(struct store_tx *tx, const char *user, const char *device,
                       struct scep_effective *effective)
{
    enum ca_status status = organisation_load(tx, &effective->organisation);
    if (status == CA_OK)
        status = user_load(tx, user, &effective->owner);
    return status == CA_OK ? device_load(tx, device, &effective->device) : status;
}

enum ca_status
scep_effective_names(const struct scep_effective *effective, struct names *ret_names)
{
    return names_build(
        &effective->certificate.settings.certificate,
        &(struct names_sources){ .organisation = &effective->organisation,
                                 .user = &effective->owner,
                                 .device = &effective->device },
        ret_names);
}
