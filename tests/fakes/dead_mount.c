/* Shows a process a mount whose server is gone, by LD_PRELOAD: whoever looks at $LAUNCHDECK_FAKE_DEAD_MOUNT or below it,
 * also through a link, sleeps until there is a file of that name with ".alive" at its end.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int is_below(const char *path, const char *mount) {
    size_t length = strlen(mount);
    return !strncmp(path, mount, length) && (path[length] == '\0' || path[length] == '/');
}

static void wait_for(const char *path, int follows) {
    const char *mount = getenv("LAUNCHDECK_FAKE_DEAD_MOUNT");
    char real[PATH_MAX], alive[PATH_MAX];
    if (!mount || !path) return;
    if (!is_below(path, mount) && !(follows && realpath(path, real) && is_below(real, mount))) return;
    snprintf(alive, sizeof alive, "%s.alive", mount);
    while (syscall(SYS_faccessat, AT_FDCWD, alive, F_OK)) usleep(20000);
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        wait_for(path, 1); va_list more; va_start(more, flags); mode_t mode = va_arg(more, mode_t); va_end(more); \
        return NEXT(name)(path, flags, mode); }
OPEN(open)
OPEN(open64)

#define STAT(name, type, follows) \
    int name(const char *path, struct type *info) { wait_for(path, follows); return NEXT(name)(path, info); }
STAT(stat, stat, 1)
STAT(stat64, stat64, 1)
STAT(lstat, stat, 0)
STAT(lstat64, stat64, 0)

#define STAT_AT(name, type) \
    int name(int folder, const char *path, struct type *info, int flags) { \
        wait_for(path, !(flags & AT_SYMLINK_NOFOLLOW)); return NEXT(name)(folder, path, info, flags); }
STAT_AT(fstatat, stat)
STAT_AT(fstatat64, stat64)

DIR *opendir(const char *path) { wait_for(path, 1); return NEXT(opendir)(path); }
int access(const char *path, int mode) { wait_for(path, 1); return NEXT(access)(path, mode); }
ssize_t readlink(const char *path, char *room, size_t size) { wait_for(path, 0); return NEXT(readlink)(path, room, size); }
