/* Added to nvml.c: GPUs that are divided (MIG).
 *   N.mig=1             the slices of GPU N are those of its parts (see answers.h) that have a uuid
 *   N.mig_slots=N       how many it can have: 7, unless told otherwise
 */
int nvmlDeviceGetMigMode(void *handle, unsigned *now, unsigned *pending) {
    int gpu = index_of(handle), error = enter("MigMode", gpu);
    *now = *pending = (unsigned)number(gpu, "mig");
    return error ? error : *of(gpu, "mig") ? OK : NOT_SUPPORTED;
}

int nvmlDeviceGetMaxMigDeviceCount(void *handle, unsigned *count) {
    int gpu = index_of(handle), error = enter("MaxMig", gpu);
    *count = *of(gpu, "mig_slots") ? (unsigned)number(gpu, "mig_slots") : 7;
    return error;
}

int nvmlDeviceGetMigDeviceHandleByIndex(void *handle, unsigned index, void **slice) {
    int gpu = index_of(handle), error = enter("MigHandle", gpu), part = PART * (gpu + 1) + (int)index;
    *slice = (void *)(size_t)(part + 1);
    return error ? error : *of(part, "uuid") ? OK : NOT_FOUND;
}
