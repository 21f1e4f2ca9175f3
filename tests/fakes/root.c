/* Shows a process another /sys/bus/pci, /proc/driver and /dev than the machine's, by LD_PRELOAD: paths below these are
 * looked up below the folder named by LAUNCHDECK_FAKE_ROOT.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *there(const char *path, char *room, size_t size) {
    static const char *const redirected[] = {"/sys/bus/pci/", "/proc/driver/", "/dev/nvidia", "/dev/kfd", "/usr/share/libdrm/"};
    const char *root = getenv("LAUNCHDECK_FAKE_ROOT");
    for (size_t i = 0; root && path && i < sizeof redirected / sizeof *redirected; i++)
        if (!strncmp(path, redirected[i], strlen(redirected[i]))) {
            snprintf(room, size, "%s%s", root, path);
            return room;
        }
    return path;
}

#define THERE(path) char room[4096]; const char *real = there(path, room, sizeof room)
#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        THERE(path); va_list more; va_start(more, flags); mode_t mode = va_arg(more, mode_t); va_end(more); \
        return NEXT(name)(real, flags, mode); }
OPEN(open)
OPEN(open64)

#define STAT(name, type) int name(const char *path, struct type *info) { THERE(path); return NEXT(name)(real, info); }
STAT(stat, stat)
STAT(lstat, stat)
STAT(stat64, stat64)
STAT(lstat64, stat64)

#define STAT_AT(name, type) \
    int name(int folder, const char *path, struct type *info, int flags) { THERE(path); return NEXT(name)(folder, real, info, flags); }
STAT_AT(fstatat, stat)
STAT_AT(fstatat64, stat64)

DIR *opendir(const char *path) { THERE(path); return NEXT(opendir)(real); }

ssize_t readlink(const char *path, char *target, size_t size) { THERE(path); return NEXT(readlink)(real, target, size); }
