/* A libnvidia-ml.so.1 without a GPU. Besides the keys of answers.h:
 *   driver=TEXT
 *   noise=TEXT         what the library prints when it is opened
 *   recount=N          GPUs that the open library counts now
 *   count_error=CODE   what counting returns
 *   beyond=CODE        what opening a GPU beyond the last returns, and not INVALID
 *   memory_v2=0        an old driver, which has no nvmlDeviceGetMemoryInfo_v2
 *   N.name N.uuid N.bus_id N.total N.reserved N.used N.util N.temp N.power N.limit N.major N.minor
 *   N.clock N.memory_clock N.fan
 *   N.compute N.graphics        PID:BYTES,PID:BYTES
 *   N.mig=1                     the GPU is divided, see mig.c
 * All functions that are not here are in stubs.h, which is made from the bindings: they return NOT_SUPPORTED.
 */
enum { OK = 0, UNINITIALIZED = 1, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, NO_LIBRARY = 12, NO_FUNCTION = 13 };

#define ANSWERS_FILE "LAUNCHDECK_FAKE_NVML"
#define CALLS_FILE "LAUNCHDECK_FAKE_NVML_CALLS"
#include "../answers.h"
#include "stubs.h"

typedef struct { char legacy[16]; unsigned domain, bus, device, id, subsystem; char bus_id[32]; } Pci;
typedef struct { u64 total, free, used; } Memory;
typedef struct { unsigned version; u64 total, reserved, free, used; } Memory2;
typedef struct { unsigned gpu, memory; } Utilization;
typedef struct { unsigned pid; u64 used; unsigned gpu_instance, compute_instance; } Process;

static int index_of(void *handle) { return (int)(size_t)handle - 1; }

static int copy(char *to, unsigned size, const char *from) {
    if (strlen(from) >= size) return INSUFFICIENT_SIZE;
    strcpy(to, from);
    return OK;
}

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    enter("Init", -1);
    if (!is_told()) return NO_LIBRARY;
    if (*get("noise")) puts(get("noise"));
    if (atoi(get("init"))) return atoi(get("init"));
    opened = atoi(get("count"));
    return OK;
}

int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }

int nvmlShutdown(void) {
    int error = enter("Shutdown", -1);
    opened = -1;
    return error;
}

const char *nvmlErrorString(int code) {
    static char message[32];
    snprintf(message, sizeof message, "fake error %d", code);
    return message;
}

int nvmlSystemGetDriverVersion(char *version, unsigned size) {
    int error = enter("Driver", -1);
    return error ? error : copy(version, size, get("driver"));
}

int nvmlDeviceGetCount_v2(unsigned *count) {
    int error = enter("Count", -1);
    if (!error) error = atoi(get("count_error"));
    if (!error) *count = (unsigned)(*get("recount") ? atoi(get("recount")) : opened);
    return error;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    int error = enter("Handle", (int)index);
    if (error == INVALID && *get("beyond")) error = atoi(get("beyond"));
    if (!error) *handle = (void *)(size_t)(index + 1);
    return error;
}

int nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, void **handle) {
    load();
    for (int i = 0; i < opened; i++) /* the domain may have 4 or 8 digits */
        if (strlen(bus_id) >= 12 && !strcasecmp(of(i, "bus_id") + strlen(of(i, "bus_id")) - 12, bus_id + strlen(bus_id) - 12))
            return nvmlDeviceGetHandleByIndex_v2((unsigned)i, handle);
    return NOT_FOUND;
}

int nvmlDeviceGetName(void *handle, char *name, unsigned size) {
    int gpu = index_of(handle), error = enter("Name", gpu);
    return error ? error : copy(name, size, of(gpu, "name"));
}

int nvmlDeviceGetUUID(void *handle, char *uuid, unsigned size) {
    int gpu = index_of(handle), error = enter("UUID", gpu);
    return error ? error : copy(uuid, size, of(gpu, "uuid"));
}

int nvmlDeviceGetPciInfo_v3(void *handle, Pci *pci) {
    int gpu = index_of(handle), error = enter("Pci", gpu);
    if (error) return error;
    memset(pci, 0, sizeof *pci);
    return copy(pci->bus_id, sizeof pci->bus_id, of(gpu, "bus_id"));
}

int nvmlDeviceGetCudaComputeCapability(void *handle, int *major, int *minor) {
    int gpu = index_of(handle), error = enter("Capability", gpu);
    *major = (int)number(gpu, "major");
    *minor = (int)number(gpu, "minor");
    return error;
}

int nvmlDeviceGetMemoryInfo(void *handle, Memory *memory) {
    int gpu = index_of(handle), error = enter("Memory", gpu);
    memory->total = number(gpu, "total");
    memory->used = number(gpu, "used") + number(gpu, "reserved");
    memory->free = memory->total - memory->used;
    return error;
}

int nvmlDeviceGetMemoryInfo_v2(void *handle, Memory2 *memory) {
    int gpu = index_of(handle), error = enter("Memory", gpu);
    if (!strcmp(get("memory_v2"), "0")) return NO_FUNCTION;
    if (memory->version != (sizeof(Memory2) | 2u << 24)) return INVALID;
    memory->total = number(gpu, "total");
    memory->reserved = number(gpu, "reserved");
    memory->used = number(gpu, "used");
    memory->free = memory->total - memory->used - memory->reserved;
    return error;
}

int nvmlDeviceGetUtilizationRates(void *handle, Utilization *utilization) {
    int gpu = index_of(handle), error = enter("Utilization", gpu);
    if (gpu >= PART || number(gpu, "mig")) return NOT_SUPPORTED;
    utilization->gpu = (unsigned)number(gpu, "util");
    utilization->memory = 0;
    return error;
}

static int unsigned_value(const char *call, void *handle, const char *key, unsigned *value) {
    int gpu = index_of(handle), error = enter(call, gpu);
    if (gpu >= PART) return NOT_SUPPORTED;
    *value = (unsigned)number(gpu, key);
    return error;
}

int nvmlDeviceGetTemperature(void *handle, int sensor, unsigned *celsius) {
    (void)sensor;
    return unsigned_value("Temperature", handle, "temp", celsius);
}

int nvmlDeviceGetClockInfo(void *handle, int kind, unsigned *mhz) {
    return unsigned_value("Clock", handle, kind == 0 ? "clock" : "memory_clock", mhz);
}

int nvmlDeviceGetFanSpeed(void *handle, unsigned *percent) { return unsigned_value("Fan", handle, "fan", percent); }

int nvmlDeviceGetPowerUsage(void *handle, unsigned *milliwatts) {
    return unsigned_value("Power", handle, "power", milliwatts);
}

int nvmlDeviceGetEnforcedPowerLimit(void *handle, unsigned *milliwatts) {
    return unsigned_value("PowerLimit", handle, "limit", milliwatts);
}

/* The first call asks for the number: INSUFFICIENT_SIZE when there are processes, or the caller takes them for none. */
static int processes(const char *call, void *handle, const char *key, unsigned *count, Process *list) {
    int gpu = index_of(handle), error = enter(call, gpu);
    unsigned room = *count, found = 0;
    if (error) return error;
    for (const char *entry = of(gpu, key); *entry; found++) {
        Process process = {0, 0, ~0U, ~0U};
        entry = next_process(entry, &process.pid, &process.used);
        if (found < room && list) list[found] = process;
    }
    *count = found;
    return found > room ? INSUFFICIENT_SIZE : OK;
}

int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned *count, Process *list) {
    return processes("Compute", handle, "compute", count, list);
}

int nvmlDeviceGetGraphicsRunningProcesses_v3(void *handle, unsigned *count, Process *list) {
    return processes("Graphics", handle, "graphics", count, list);
}
