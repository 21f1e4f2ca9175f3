/* A driver library's answers, read from a text file of `key=value` lines that may change at any time.
 *
 * The library that includes this defines ANSWERS_FILE and CALLS_FILE, the environment variables that name the files,
 * and UNINITIALIZED and INVALID, its error codes. Common keys, N being a GPU's place and CALL a function's short name:
 *   count=N                     GPUs; only those that were there when the library was opened are known
 *   init=CODE                   what opening the library returns
 *   N.error=CODE                what every call returns for GPU N, and its handle too
 *   N.error.CALL=CODE           what CALL returns for GPU N
 *   delay_ms.CALL=MILLISECONDS  how long CALL takes; it comes back early when the line goes
 *   N.delay_ms.CALL=...         the same for GPU N alone
 * Numbers from PART on stand for parts of GPUs: PART * (N + 1) + P is part P of GPU N.
 * Every call is added to the calls' file, if one is named, as a line `CALL N`.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

typedef unsigned long long u64;
enum { PART = 100 };

/* One reading of the file. It is never changed, nor freed: other threads may be in the middle of using it. */
typedef struct { char text[65536]; char *keys[2048], *values[2048]; int lines; } Answers;

static Answers none;
static Answers *_Atomic answers = &none;
static pthread_mutex_t loading = PTHREAD_MUTEX_INITIALIZER;
static struct stat seen;
static int opened = -1;

static Answers *read_answers(const char *path) {
    Answers *fresh = calloc(1, sizeof *fresh);
    FILE *file = fopen(path, "r");
    char *rest = NULL;
    if (!fresh || !file) return &none;
    fresh->text[fread(fresh->text, 1, sizeof fresh->text - 1, file)] = 0;
    fclose(file);
    for (char *line = strtok_r(fresh->text, "\n", &rest); line && fresh->lines < 2048; line = strtok_r(NULL, "\n", &rest)) {
        char *equals = strchr(line, '=');
        if (!equals) continue;
        *equals = 0;
        fresh->keys[fresh->lines] = line;
        fresh->values[fresh->lines++] = equals + 1;
    }
    return fresh;
}

static void load(void) {
    const char *path = getenv(ANSWERS_FILE);
    struct stat now;
    pthread_mutex_lock(&loading);
    if (!path || stat(path, &now)) {
        answers = &none;
        memset(&seen, 0, sizeof seen);
    } else if (now.st_ino != seen.st_ino || memcmp(&now.st_mtim, &seen.st_mtim, sizeof now.st_mtim)) {
        seen = now;
        answers = read_answers(path);
    }
    pthread_mutex_unlock(&loading);
}

static inline int is_told(void) { return answers->lines > 0; }

static const char *get(const char *key) {
    const Answers *told = answers;
    for (int i = 0; i < told->lines; i++)
        if (!strcmp(told->keys[i], key)) return told->values[i];
    return "";
}

static const char *of(int gpu, const char *key) {
    char full[96];
    snprintf(full, sizeof full, "%d.%s", gpu, key);
    return get(full);
}

static u64 number(int gpu, const char *key) { return strtoull(of(gpu, key), NULL, 0); }

/* What the file has for a key at this moment. */
static int now(const char *key) {
    char line[4096];
    size_t length = strlen(key);
    int value = 0;
    const char *path = getenv(ANSWERS_FILE);
    FILE *file = path ? fopen(path, "r") : NULL;
    while (file && fgets(line, sizeof line, file))
        if (!strncmp(line, key, length) && line[length] == '=') value = atoi(line + length + 1);
    if (file) fclose(file);
    return value;
}

static void take_as_long_as_told(const char *call, int gpu) {
    char all[96], one[128];
    snprintf(all, sizeof all, "delay_ms.%s", call);
    snprintf(one, sizeof one, "%d.%s", gpu, all);
    if (!*get(all) && !*get(one)) return;
    for (int waited = 0; waited < now(all) || waited < now(one); waited += 5) nanosleep(&(struct timespec){0, 5000000}, NULL);
    load();
}

/* Begin a call: write it down, take as long as told, and give the error it has to return. */
static int enter(const char *call, int gpu) {
    char key[96];
    const char *log = getenv(CALLS_FILE);
    FILE *file = log ? fopen(log, "a") : NULL;
    if (file) { fprintf(file, "%s %d\n", call, gpu); fclose(file); }
    load();
    take_as_long_as_told(call, gpu);
    if (opened < 0) return UNINITIALIZED;
    if (gpu < 0) return 0;
    if ((gpu < PART ? gpu : gpu / PART - 1) >= opened) return INVALID;
    if (*of(gpu, "error")) return atoi(of(gpu, "error"));
    snprintf(key, sizeof key, "error.%s", call);
    return atoi(of(gpu, key));
}

/* The next `PID:BYTES` of a list, and the rest of it; BYTES may be ? (all ones: the driver does not tell). */
static const char *next_process(const char *list, unsigned *pid, u64 *bytes) {
    char *end;
    *pid = (unsigned)strtoul(list, &end, 10);
    *bytes = end[1] == '?' ? ~0ULL : strtoull(end + 1, NULL, 10);
    const char *comma = strchr(end, ',');
    return comma ? comma + 1 : "";
}
