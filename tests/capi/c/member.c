/* Runs a node from its configuration file, with virtual IP and health, until its input ends. */
#include "check.h"
#include <poll.h>

int main(int argc, char **argv) {
    CHECK(argc == 2);
    setvbuf(stdout, NULL, _IOLBF, 0);
    leasehold_config *config = NULL;
    leasehold_node *node = NULL;
    leasehold_event event = {.size = sizeof event};
    struct pollfd wanted[] = {{.fd = 0, .events = POLLIN}, {.events = POLLIN}};
    OK(leasehold_config_load(argv[1], &config));
    OK(leasehold_start(config, NULL, &node));
    OK(leasehold_config_free(config));
    OK(leasehold_serve_health(node));
    OK(leasehold_descriptor(node, &wanted[1].fd));
    while (wanted[0].revents == 0) {
        CHECK(poll(wanted, 2, -1) > 0);
        while (leasehold_next_event(node, &event, 0) == LEASEHOLD_OK) {
            printf("%d %" PRIu64 " %s\n", event.kind, event.epoch, event.text);
            if (event.kind == LEASEHOLD_RESIGNING) {
                OK(leasehold_drained(node, event.epoch));
            }
        }
    }
    OK(leasehold_free(node));
    puts("done");
    return 0;
}
