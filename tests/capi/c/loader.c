/* A program that loads the library as a plug-in, uses it, unloads it, and loads it again. */
#include <dlfcn.h>
#include <leasehold.h>
#include <stdio.h>
#include <unistd.h>

#define PATIENCE_MS (120 * 1000)

#define TAKE(library, name) __typeof__(&name) name##_ = (__typeof__(&name))dlsym(library, #name)

static void use(const char *file, const char *servers) {
    void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        _exit(1);
    }
    TAKE(library, leasehold_abi);
    TAKE(library, leasehold_config_new);
    TAKE(library, leasehold_config_free);
    TAKE(library, leasehold_start);
    TAKE(library, leasehold_wait_for_leadership);
    TAKE(library, leasehold_free);
    TAKE(library, leasehold_last_error);
    if (leasehold_abi_() != LEASEHOLD_ABI) {
        _exit(2);
    }
    leasehold_config *config = NULL;
    leasehold_node *node = NULL;
    if (leasehold_config_new_("loader", "node", servers, &config) != LEASEHOLD_OK ||
        leasehold_start_(config, NULL, &node) != LEASEHOLD_OK ||
        leasehold_wait_for_leadership_(node, PATIENCE_MS) != LEASEHOLD_OK ||
        leasehold_free_(node) != LEASEHOLD_OK || leasehold_config_free_(config) != LEASEHOLD_OK) {
        fprintf(stderr, "%s\n", leasehold_last_error_());
        _exit(3);
    }
    if (dlclose(library) != 0) {
        _exit(4);
    }
    /* It stays loaded, as its ending threads still run its code. */
    if (dlopen(file, RTLD_NOW | RTLD_NOLOAD) == NULL) {
        _exit(5);
    }
}

int main(int argc, char **argv) {
    if (argc != 3) {
        return 6;
    }
    for (int times = 0; times < 3; times++) {
        use(argv[1], argv[2]);
    }
    puts("done");
    return 0;
}
