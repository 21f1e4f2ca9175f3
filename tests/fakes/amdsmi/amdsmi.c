/* A libamd_smi.so without a GPU. Besides the keys of answers.h:
 *   driver=TEXT
 *   N.name N.bdf (a number: domain, bus, device and function as in the library) N.hip_uuid
 *   N.vram_total N.vram_used N.gtt_total N.gtt_used N.util N.power N.average_power N.edge N.hotspot
 *   N.gfx (hexadecimal: 1100) N.clock N.memory_clock N.fan (of 255) N.power_cap (microwatts) N.hip_id
 *   N.processes        PID:BYTES,PID:BYTES
 *   N.program          what the library calls these processes: llama-server, unless told otherwise
 * All functions that are not here are in stubs.h, which is made from the bindings: they return NOT_SUPPORTED.
 */
enum { OK = 0, INVALID = 1, NOT_SUPPORTED = 2, UNINITIALIZED = 32 };

#define ANSWERS_FILE "LAUNCHDECK_FAKE_AMDSMI"
#define CALLS_FILE "LAUNCHDECK_FAKE_AMDSMI_CALLS"
#include "../answers.h"
#include "stubs.h"

#include <stdint.h>

typedef struct { uint32_t render, card, hsa_id, hip_id; char hip_uuid[256]; } Enumeration;
typedef struct { uint32_t gfx, umc, mm, reserved[13]; } Activity;
typedef struct { uint64_t socket; uint32_t current, average; uint64_t voltages[3]; uint32_t limit, padding; uint64_t reserved[18]; } Power;
typedef struct __attribute__((packed)) { uint32_t clock, least, most; unsigned char locked, asleep, padding[2]; uint32_t reserved[4]; } Clock;
typedef struct { uint64_t cap, usual, dynamic, least, most, reserved[3]; } PowerCap;
typedef struct { char version[256], date[256], name[256]; } Driver;
typedef struct __attribute__((packed)) {
    char market_name[256]; uint32_t vendor; char vendor_name[256]; uint32_t subvendor; uint64_t device; uint32_t revision;
    char serial[256]; uint32_t oam, units, padding; uint64_t graphics_version; uint32_t subsystem, reserved[21];
} Asic;
typedef struct __attribute__((packed)) {
    char name[256]; uint32_t pid, padding; uint64_t mem, gfx, enc; uint32_t engine_reserved[12];
    uint64_t gtt, cpu, vram; uint32_t memory_reserved[10]; char container[256]; uint32_t occupancy, reserved[11];
} Process;

static int index_of(void *handle) { return (int)(size_t)handle - 1; }

static uint32_t reading(int gpu, const char *key) { return *of(gpu, key) ? (uint32_t)number(gpu, key) : 0xFFFF; }

int amdsmi_init(uint64_t flags) {
    (void)flags;
    enter("Init", -1);
    if (atoi(get("init"))) return atoi(get("init"));
    opened = atoi(get("count"));
    return OK;
}

int amdsmi_shut_down(void) {
    int error = enter("Shutdown", -1);
    opened = -1;
    return error;
}

int amdsmi_get_socket_handles(uint32_t *count, void **sockets) {
    int error = enter("Sockets", -1);
    if (error) return error;
    for (int i = 0; sockets && i < opened; i++) sockets[i] = (void *)(size_t)(i + 1);
    *count = (uint32_t)opened;
    return OK;
}

int amdsmi_get_processor_handles(void *socket, uint32_t *count, void **processors) {
    if (processors) processors[0] = socket;
    *count = 1;
    return OK;
}

int amdsmi_get_gpu_device_bdf(void *handle, uint64_t *bdf) {
    int gpu = index_of(handle), error = enter("Bdf", gpu);
    *bdf = number(gpu, "bdf");
    return error;
}

int amdsmi_get_gpu_enumeration_info(void *handle, Enumeration *info) {
    int gpu = index_of(handle), error = enter("Enumeration", gpu);
    memset(info, 0, sizeof *info);
    info->hip_id = *of(gpu, "hip_id") ? (uint32_t)number(gpu, "hip_id") : ~0U;
    strncpy(info->hip_uuid, of(gpu, "hip_uuid"), sizeof info->hip_uuid - 1);
    return error;
}

int amdsmi_get_gpu_asic_info(void *handle, Asic *asic) {
    int gpu = index_of(handle), error = enter("Asic", gpu);
    memset(asic, 0, sizeof *asic);
    strncpy(asic->market_name, of(gpu, "name"), sizeof asic->market_name - 1);
    asic->graphics_version = strtoull(of(gpu, "gfx"), NULL, 16);
    return error;
}

int amdsmi_get_gpu_driver_info(void *handle, Driver *driver) {
    int error = enter("Driver", index_of(handle));
    memset(driver, 0, sizeof *driver);
    strncpy(driver->version, get("driver"), sizeof driver->version - 1);
    return error;
}

static int pool(const char *call, void *handle, int type, const char *vram, const char *gtt, uint64_t *size) {
    int gpu = index_of(handle), error = enter(call, gpu);
    *size = number(gpu, type == 2 ? gtt : vram);
    return error;
}

int amdsmi_get_gpu_memory_total(void *handle, int type, uint64_t *total) {
    return pool("MemoryTotal", handle, type, "vram_total", "gtt_total", total);
}

int amdsmi_get_gpu_memory_usage(void *handle, int type, uint64_t *used) {
    return pool("MemoryUsage", handle, type, "vram_used", "gtt_used", used);
}

int amdsmi_get_gpu_activity(void *handle, Activity *activity) {
    int gpu = index_of(handle), error = enter("Activity", gpu);
    activity->gfx = activity->umc = activity->mm = reading(gpu, "util");
    return error;
}

int amdsmi_get_power_info(void *handle, Power *power) {
    int gpu = index_of(handle), error = enter("Power", gpu);
    memset(power, 0xFF, sizeof *power);
    power->current = reading(gpu, "power");
    power->average = reading(gpu, "average_power");
    return error;
}

int amdsmi_get_clock_info(void *handle, int kind, Clock *clock) {
    int gpu = index_of(handle), error = enter("Clock", gpu);
    memset(clock, 0xFF, sizeof *clock);
    clock->clock = reading(gpu, kind == 0 ? "clock" : "memory_clock");
    return error;
}

int amdsmi_get_power_cap_info(void *handle, uint32_t sensor, PowerCap *power) {
    int gpu = index_of(handle), error = enter("PowerCap", gpu);
    (void)sensor;
    memset(power, 0, sizeof *power);
    power->cap = number(gpu, "power_cap");
    return error ? error : *of(gpu, "power_cap") ? OK : NOT_SUPPORTED;
}

int amdsmi_get_gpu_fan_speed(void *handle, uint32_t sensor, int64_t *speed) {
    int gpu = index_of(handle), error = enter("Fan", gpu);
    (void)sensor;
    *speed = (int64_t)number(gpu, "fan");
    return error ? error : *of(gpu, "fan") ? OK : NOT_SUPPORTED;
}

int amdsmi_get_gpu_fan_speed_max(void *handle, uint32_t sensor, uint64_t *speed) {
    int error = enter("FanMax", index_of(handle));
    (void)sensor;
    *speed = 255;
    return error;
}

int amdsmi_get_temp_metric(void *handle, int sensor, int metric, int64_t *celsius) {
    const char *key = sensor == 0 ? "edge" : "hotspot";
    int gpu = index_of(handle), error = enter("Temperature", gpu);
    (void)metric;
    *celsius = (int64_t)number(gpu, key);
    return error ? error : *of(gpu, key) ? OK : NOT_SUPPORTED;
}

int amdsmi_get_gpu_process_list(void *handle, uint32_t *count, Process *list) {
    int gpu = index_of(handle), error = enter("Processes", gpu);
    uint32_t found = 0;
    if (error) return error;
    for (const char *entry = of(gpu, "processes"); *entry && found < *count; found++) {
        Process process = {.name = "llama-server", .gtt = 1000};
        unsigned pid;
        u64 bytes;
        if (*of(gpu, "program")) strncpy(process.name, of(gpu, "program"), sizeof process.name - 1);
        entry = next_process(entry, &pid, &bytes);
        process.pid = pid;
        process.vram = bytes;
        list[found] = process;
    }
    *count = found;
    return OK;
}
