/* Shows a process a folder on a disk that has failed, by LD_PRELOAD: whatever is asked of paths that begin with the second
 * word of the file named by LAUNCHDECK_FAKE_DISK fails with the errno that is its first word. Without the file, or with
 * nothing in it, all is well.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int failure(const char *path) {
    static __thread int asking;
    const char *control = getenv("LAUNCHDECK_FAKE_DISK");
    char folder[4096];
    int number = 0, before = errno;
    if (control == NULL || path == NULL || asking) return 0;
    asking = 1;
    FILE *file = fopen(control, "r");
    asking = 0;
    errno = before;
    if (file == NULL) return 0;
    if (fscanf(file, "%d %4095s", &number, folder) != 2 || strncmp(path, folder, strlen(folder)) != 0) number = 0;
    fclose(file);
    return number;
}

#define REFUSE(path, value) do { int number = failure(path); if (number) { errno = number; return value; } } while (0)

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        REFUSE(path, -1); \
        va_list more; va_start(more, flags); mode_t mode = va_arg(more, mode_t); va_end(more); \
        return NEXT(name)(path, flags, mode); }
OPEN(open)
OPEN(open64)

#define STAT(name, type) int name(const char *path, struct type *info) { REFUSE(path, -1); return NEXT(name)(path, info); }
STAT(stat, stat)
STAT(lstat, stat)
STAT(stat64, stat64)
STAT(lstat64, stat64)

#define STAT_AT(name, type) \
    int name(int folder, const char *path, struct type *info, int flags) { \
        REFUSE(path, -1); return NEXT(name)(folder, path, info, flags); }
STAT_AT(fstatat, stat)
STAT_AT(fstatat64, stat64)

DIR *opendir(const char *path) { REFUSE(path, NULL); return NEXT(opendir)(path); }
int mkdir(const char *path, mode_t mode) { REFUSE(path, -1); return NEXT(mkdir)(path, mode); }
int rename(const char *from, const char *to) { REFUSE(from, -1); return NEXT(rename)(from, to); }
int unlink(const char *path) { REFUSE(path, -1); return NEXT(unlink)(path); }
int bind(int file, const struct sockaddr *address, socklen_t length) {
    if (address->sa_family == AF_UNIX) REFUSE(((const struct sockaddr_un *)address)->sun_path, -1);
    return NEXT(bind)(file, address, length);
}
