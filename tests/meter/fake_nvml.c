/* A libnvidia-ml.so.1 whose truth is known: square-wave power over CLOCK_MONOTONIC, a counter that steps, and faults.
 *
 * FAKE_NVML names a text file of lines "GPU KEY VALUE"; it is read again when it has changed, so that a test can make
 * a device fail while it is being recorded. Keys: uuid, name, arch, low_w, high_w, half_s (square wave from monotonic
 * time 0), period_ms (counter), quantum_mj, base_mj (subtracted from the counter: a reset), energy_error, power_error,
 * all_error (NVML return codes; a negative energy_error is a counter that shows 0), mig, c2c, temperature, throttle, capability (80 for
 * 8.0), memory_error. GPU i stands at the PCI address 00000000:0i:00.0. Only what the meter calls is here.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define GPUS 8
#define OK 0
#define INVALID 2
#define NOT_SUPPORTED 3
#define NOT_FOUND 6

struct gpu {
    char uuid[96], name[96];
    int used, arch, capability, memory_error, energy_error, power_error, all_error, mig, c2c, temperature;
    unsigned long long throttle;
    double low_w, high_w, half_s, period_ms, quantum_mj, base_mj;
};

static struct gpu gpus[GPUS];
static struct timespec loaded;

static void load(void) {
    static double looked_s;
    const char *path = getenv("FAKE_NVML");
    struct stat now;
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    if (t.tv_sec + t.tv_nsec * 1e-9 - looked_s < 0.01) return;
    looked_s = t.tv_sec + t.tv_nsec * 1e-9;
    if (!path || stat(path, &now)) return;
    if (now.st_mtim.tv_sec == loaded.tv_sec && now.st_mtim.tv_nsec == loaded.tv_nsec) return;
    FILE *file = fopen(path, "r");
    if (!file) return;
    loaded = now.st_mtim;
    memset(gpus, 0, sizeof gpus);
    int index;
    char key[32], value[96];
    while (fscanf(file, "%d %31s %95[^\n]", &index, key, value) == 3) {
        if (index < 0 || index >= GPUS) continue;
        struct gpu *g = &gpus[index];
        if (!g->used) {
            g->used = 1; g->arch = 8; g->low_w = 50; g->high_w = 300; g->half_s = 1; g->period_ms = 100;
            g->quantum_mj = 1; g->temperature = 40;
            snprintf(g->uuid, sizeof g->uuid, "GPU-0000000%d-fake", index);
            snprintf(g->name, sizeof g->name, "Fake GPU");
        }
        double number = atof(value);
        if (!strcmp(key, "uuid")) snprintf(g->uuid, sizeof g->uuid, "%s", value);
        else if (!strcmp(key, "name")) snprintf(g->name, sizeof g->name, "%s", value);
        else if (!strcmp(key, "arch")) g->arch = (int)number;
        else if (!strcmp(key, "low_w")) g->low_w = number;
        else if (!strcmp(key, "high_w")) g->high_w = number;
        else if (!strcmp(key, "half_s")) g->half_s = number;
        else if (!strcmp(key, "period_ms")) g->period_ms = number;
        else if (!strcmp(key, "quantum_mj")) g->quantum_mj = number;
        else if (!strcmp(key, "base_mj")) g->base_mj = number;
        else if (!strcmp(key, "energy_error")) g->energy_error = (int)number;
        else if (!strcmp(key, "power_error")) g->power_error = (int)number;
        else if (!strcmp(key, "all_error")) g->all_error = (int)number;
        else if (!strcmp(key, "capability")) g->capability = (int)number;
        else if (!strcmp(key, "memory_error")) g->memory_error = (int)number;
        else if (!strcmp(key, "mig")) g->mig = (int)number;
        else if (!strcmp(key, "c2c")) g->c2c = (int)number;
        else if (!strcmp(key, "temperature")) g->temperature = (int)number;
        else if (!strcmp(key, "throttle")) g->throttle = strtoull(value, 0, 10);
    }
    fclose(file);
}

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

/* Exact energy in joules of the square wave from monotonic time 0. */
static double energy_j(const struct gpu *g, double t) {
    double cycle = 2 * g->half_s, whole = (double)(long long)(t / cycle), rest = t - whole * cycle;
    double low = rest < g->half_s ? rest : g->half_s, high = rest < g->half_s ? 0 : rest - g->half_s;
    return whole * g->half_s * (g->low_w + g->high_w) + low * g->low_w + high * g->high_w;
}

static double updated(const struct gpu *g) {
    double period = g->period_ms * 1e-3, t = now_s();
    return period > 0 ? (double)(long long)(t / period) * period : t;
}

static struct gpu *device(void *handle) {
    load();
    struct gpu *g = handle;
    return g >= gpus && g < gpus + GPUS && g->used ? g : 0;
}

#define DEVICE(handle) struct gpu *g = device(handle); if (!g) return INVALID; if (g->all_error) return g->all_error

int nvmlInit_v2(void) { load(); return OK; }
int nvmlInitWithFlags(unsigned flags) { (void)flags; load(); return OK; }
int nvmlShutdown(void) { return OK; }

const char *nvmlErrorString(int code) {
    switch (code) {
        case OK: return "Success";
        case INVALID: return "Invalid Argument";
        case NOT_SUPPORTED: return "Not Supported";
        case 4: return "Insufficient Permissions";
        case NOT_FOUND: return "Not Found";
        case 10: return "Timeout";
        case 15: return "GPU is lost";
        default: return "Unknown Error";
    }
}

int nvmlSystemGetDriverVersion(char *text, unsigned length) { snprintf(text, length, "999.1"); return OK; }

int nvmlDeviceGetCount_v2(unsigned *count) {
    load();
    for (*count = 0; *count < GPUS && gpus[*count].used; ++*count);
    return OK;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    load();
    if (index >= GPUS || !gpus[index].used) return INVALID;
    *handle = &gpus[index];
    return OK;
}

/* "MIG-<index>-..." stands for an instance on that GPU; its handle is the GPU's address plus one byte. */
int nvmlDeviceGetHandleByUUID(const char *uuid, void **handle) {
    load();
    if (!strncmp(uuid, "MIG-", 4) && gpus[atoi(uuid + 4)].used) {
        *handle = (char *)&gpus[atoi(uuid + 4)] + 1;
        return OK;
    }
    for (int i = 0; i < GPUS; i++)
        if (gpus[i].used && !strcmp(gpus[i].uuid, uuid)) { *handle = &gpus[i]; return OK; }
    return NOT_FOUND;
}

int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(void *instance, void **handle) {
    *handle = (char *)instance - 1;
    return OK;
}

int nvmlDeviceGetIndex(void *handle, unsigned *index) { DEVICE(handle); *index = (unsigned)(g - gpus); return OK; }
int nvmlDeviceGetUUID(void *handle, char *text, unsigned length) {
    struct gpu *g = device(handle);
    if (!g) return INVALID;
    snprintf(text, length, "%s", g->uuid);
    return OK;
}
int nvmlDeviceGetName(void *handle, char *text, unsigned length) {
    DEVICE(handle);
    snprintf(text, length, "%s", g->name);
    return OK;
}
int nvmlDeviceGetCudaComputeCapability(void *handle, int *major, int *minor) {
    DEVICE(handle);
    if (!g->capability) return NOT_SUPPORTED;
    *major = g->capability / 10;
    *minor = g->capability % 10;
    return OK;
}
int nvmlDeviceGetHandleByPciBusId_v2(const char *address, void **handle) {
    unsigned domain, bus;
    load();
    if (sscanf(address, "%x:%x:", &domain, &bus) != 2 || bus >= GPUS || !gpus[bus].used) return NOT_FOUND;
    *handle = &gpus[bus];
    return OK;
}
int nvmlDeviceGetArchitecture(void *handle, unsigned *arch) { DEVICE(handle); *arch = (unsigned)g->arch; return OK; }

int nvmlDeviceGetTotalEnergyConsumption(void *handle, unsigned long long *mj) {
    DEVICE(handle);
    if (g->energy_error < 0) { *mj = 0; return OK; }
    if (g->energy_error) return g->energy_error;
    double exact = energy_j(g, updated(g)) * 1e3 - g->base_mj;
    *mj = (unsigned long long)((double)(long long)(exact / g->quantum_mj) * g->quantum_mj);
    return OK;
}

static unsigned power_mw(const struct gpu *g, double span) {
    double t = updated(g);
    return (unsigned)((energy_j(g, t) - energy_j(g, t - span)) / span * 1e3 + 0.5);
}

int nvmlDeviceGetPowerUsage(void *handle, unsigned *mw) {
    DEVICE(handle);
    if (g->power_error) return g->power_error;
    *mw = power_mw(g, g->arch >= 7 ? 1.0 : 0.01);
    return OK;
}

struct field_value {
    uint32_t id, scope;
    int64_t timestamp, latency;
    uint32_t type, result;
    union { double d; uint32_t ui; uint64_t ull; } value;
};

int nvmlDeviceGetFieldValues(void *handle, int count, struct field_value *values) {
    DEVICE(handle);
    for (int i = 0; i < count; i++) {
        values[i].result = OK;
        values[i].type = 1;
        values[i].timestamp = (int64_t)(now_s() * 1e6);
        if (g->power_error || g->arch < 5) values[i].result = g->power_error ? g->power_error : NOT_SUPPORTED;
        else if (values[i].id == 186) values[i].value.ui = power_mw(g, 0.01);
        else if (values[i].id == 185) values[i].value.ui = power_mw(g, 1.0);
        else values[i].result = NOT_SUPPORTED;
    }
    return OK;
}

struct temperature { unsigned version; int sensor, celsius; };
int nvmlDeviceGetTemperatureV(void *handle, struct temperature *t) {
    DEVICE(handle);
    t->celsius = g->temperature;
    return OK;
}
int nvmlDeviceGetClockInfo(void *handle, int type, unsigned *mhz) { (void)type; DEVICE(handle); *mhz = 1410; return OK; }
int nvmlDeviceGetCurrentClocksEventReasons(void *handle, unsigned long long *reasons) {
    DEVICE(handle);
    *reasons = g->throttle;
    return OK;
}
int nvmlDeviceGetPowerManagementLimit(void *handle, unsigned *mw) { DEVICE(handle); *mw = 400000; return OK; }
int nvmlDeviceGetEnforcedPowerLimit(void *handle, unsigned *mw) { DEVICE(handle); *mw = 400000; return OK; }
int nvmlDeviceGetMigMode(void *handle, unsigned *current, unsigned *pending) {
    DEVICE(handle);
    *current = *pending = (unsigned)g->mig;
    return OK;
}
struct c2c { unsigned enabled; };
int nvmlDeviceGetC2cModeInfoV(void *handle, struct c2c *info) {
    DEVICE(handle);
    if (!g->c2c) return NOT_SUPPORTED;
    info->enabled = 1;
    return OK;
}
struct memory { unsigned long long total, free, used; };
int nvmlDeviceGetMemoryInfo(void *handle, struct memory *m) {
    DEVICE(handle);
    if (g->memory_error) return g->memory_error;
    m->total = m->free = 80ull << 30;
    m->used = 0;
    return OK;
}
