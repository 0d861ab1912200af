/* Instances of the domain, and which of them a device belongs to. */
#pragma once

#include "record.h"

#define INSTANCE_BEAT_SECONDS 15    /* how often an instance says that it lives */
#define INSTANCE_HEALTHY_SECONDS 60 /* without a beat: gets no new devices */
#define INSTANCE_LOST_SECONDS 600   /* without a beat: its devices move */
#define INSTANCE_CAPACITY_MAX 10000
#define INSTANCES_MAX 64 /* of one domain */

struct instance {
    char *name;
    char *url;         /* base URL; NULL: the organisation's base_url */
    int64_t capacity;  /* share of the devices beside the others'; 0: none */
    char *release;     /* version of the program */
    int64_t heartbeat; /* when it last said that it lives */
    bool healthy;      /* a beat within INSTANCE_HEALTHY_SECONDS */
    struct record_stamp stamp;
};

extern const struct field instance_fields[];

/* Registers the instance or says that it still lives. A beat that changes nothing else
 * keeps the version. CA_LIMIT: INSTANCES_MAX others are there. */
enum ca_status instance_beat(struct store_tx *tx, const struct instance *instance);
enum ca_status instance_load(struct store_tx *tx, const char *name,
                             struct instance *ret_instance);
enum ca_status instance_list(struct store_tx *tx, const struct record_page *page,
                             record_visit visit, void *arg);
/* Takes one away that no longer runs; its devices move at their next contact.
 * CA_CONFLICT while it is healthy. */
enum ca_status instance_remove(struct store_tx *tx, const char *name);

/* The instance that serves this device: the one it has, while that has capacity
 * and beat within INSTANCE_LOST_SECONDS; else one chosen among the healthy ones
 * by rendezvous hashing of the device's id, weighted by capacity, and kept in the
 * device's record. CA_NOT_FOUND: no such device; CA_UNAVAILABLE: no healthy instance.
 */
enum ca_status instance_of_device(struct store_tx *tx, const char *device,
                                  struct instance *ret_instance);
void instance_clear(struct instance *instance);
