/* A libnvidia-ml.so.1 without a GPU: answers the calls that inferbench makes through nvidia-ml-py from a trace file.
 *
 * INFERBENCH_NVML_TRACE names the file. Its lines are words "name=value":
 *   device name=… uuid=… driver=… memory=… default_mhz=… max_mhz=…     (underscores in a name are blanks); the next GPU
 *   init error=9                                                       nvmlInit fails with that code
 *   unsupported nvmlDeviceGetPowerUsage                                that call answers NOT_SUPPORTED
 *   sample temperature=70 power_mw=200000 clock_mhz=1500 memory=… pstate=0 throttle=0x20 [error=15]   of the last GPU
 * Each call replays the samples for itself: its k-th call answers from the k-th sample, the last one for ever.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, MAX_SAMPLES = 1000, MAX_NAMES = 16, MAX_GPUS = 4 };

typedef struct { unsigned temperature, power_mw, clock_mhz, pstate, error; unsigned long long memory, throttle; } Sample;

typedef struct {
    char name[96], uuid[96], driver[96];
    unsigned long long memory;
    unsigned default_mhz, max_mhz;
    Sample samples[MAX_SAMPLES];
    int n_samples;
} Device;
static Device devices[MAX_GPUS];
static int n_devices, init_error, n_unsupported;
static char unsupported_names[MAX_NAMES][64];

static int word(const char *line, const char *key, char *value) {
    char pattern[32];
    snprintf(pattern, sizeof pattern, " %s=", key);
    const char *found = strstr(line, pattern);
    return found && sscanf(found + strlen(pattern), "%95s", value) == 1;
}

static unsigned long long number(const char *line, const char *key) {
    char value[96];
    return word(line, key, value) ? strtoull(value, NULL, 0) : 0;
}

static void text(const char *line, const char *key, char *into) {
    if (word(line, key, into))
        for (char *c = into; *c; c++)
            if (*c == '_') *c = ' ';
}

static void load(void) {
    const char *path = getenv("INFERBENCH_NVML_TRACE");
    FILE *file = path ? fopen(path, "r") : NULL;
    char line[1024];
    if (!file) { fprintf(stderr, "nvml_stub: INFERBENCH_NVML_TRACE names no readable file\n"); abort(); }
    n_devices = n_unsupported = init_error = 0;
    while (fgets(line, sizeof line, file)) {
        if (!strncmp(line, "device", 6) && n_devices < MAX_GPUS) {
            Device *device = &devices[n_devices++];
            memset(device, 0, sizeof *device);
            text(line, "name", device->name);
            text(line, "driver", device->driver);
            word(line, "uuid", device->uuid);
            device->memory = number(line, "memory");
            device->default_mhz = number(line, "default_mhz");
            device->max_mhz = number(line, "max_mhz");
        } else if (!strncmp(line, "init", 4)) {
            init_error = number(line, "error");
        } else if (!strncmp(line, "unsupported", 11) && n_unsupported < MAX_NAMES) {
            sscanf(line, "unsupported %63s", unsupported_names[n_unsupported++]);
        } else if (!strncmp(line, "sample", 6) && n_devices && devices[n_devices - 1].n_samples < MAX_SAMPLES) {
            Device *device = &devices[n_devices - 1];
            device->samples[device->n_samples++] = (Sample){
                .temperature = number(line, "temperature"), .power_mw = number(line, "power_mw"),
                .clock_mhz = number(line, "clock_mhz"), .pstate = number(line, "pstate"),
                .error = number(line, "error"), .memory = number(line, "memory"), .throttle = number(line, "throttle")};
        }
    }
    fclose(file);
}

static int unsupported(const char *function) {
    for (int i = 0; i < n_unsupported; i++)
        if (!strcmp(unsupported_names[i], function)) return 1;
    return 0;
}

int nvmlInitWithFlags(unsigned flags) { (void)flags; load(); return init_error; }
int nvmlShutdown(void) { return SUCCESS; }

const char *nvmlErrorString(int code) {
    switch (code) {
        case NOT_SUPPORTED: return "Not Supported";
        case NOT_FOUND: return "Not Found";
        case 9: return "Driver Not Loaded";
        case 15: return "GPU is lost";
        default: return "Unknown Error";
    }
}

static int copy(const char *from, char *into, unsigned length) {
    if (strlen(from) + 1 > length) return INVALID_ARGUMENT;
    strcpy(into, from);
    return SUCCESS;
}

int nvmlSystemGetDriverVersion(char *into, unsigned length) { return copy(devices[0].driver, into, length); }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = n_devices; return SUCCESS; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **gpu) {
    if (index >= (unsigned)n_devices) return INVALID_ARGUMENT;
    *gpu = &devices[index];
    return SUCCESS;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, void **gpu) {
    for (int i = 0; i < n_devices; i++)
        if (!strcmp(uuid, devices[i].uuid)) {
            *gpu = &devices[i];
            return SUCCESS;
        }
    return NOT_FOUND;
}

static int number_of(Device *device) { return (int)(device - devices); }

int nvmlDeviceGetName(Device *gpu, char *into, unsigned length) { return copy(gpu->name, into, length); }

int nvmlDeviceGetMaxClockInfo(Device *gpu, int kind, unsigned *mhz) {
    (void)kind;
    *mhz = gpu->max_mhz;
    return unsupported(__func__) ? NOT_SUPPORTED : SUCCESS;
}

int nvmlDeviceGetDefaultApplicationsClock(Device *gpu, int kind, unsigned *mhz) {
    (void)kind;
    *mhz = gpu->default_mhz;
    return unsupported(__func__) ? NOT_SUPPORTED : SUCCESS;
}

/* Moves the caller's own place in the GPU's trace on by one; returns the code that the call has to answer. */
static int next(const char *function, Device *gpu, int places[MAX_GPUS], Sample *sample) {
    if (unsupported(function) || !gpu->n_samples) return NOT_SUPPORTED;
    int place = places[number_of(gpu)]++;
    *sample = gpu->samples[place < gpu->n_samples ? place : gpu->n_samples - 1];
    return sample->error;
}

#define REPLAYED(function, type, field)                                                                                \
    int function(Device *gpu, type *value) {                                                                           \
        static int places[MAX_GPUS];                                                                                   \
        Sample sample = {0};                                                                                           \
        int code = next(__func__, gpu, places, &sample);                                                               \
        *value = sample.field;                                                                                         \
        return code;                                                                                                   \
    }

REPLAYED(nvmlDeviceGetPowerUsage, unsigned, power_mw)
REPLAYED(nvmlDeviceGetPerformanceState, unsigned, pstate)
#ifndef OLD_DRIVER /* drivers before 535 have only the older name */
REPLAYED(nvmlDeviceGetCurrentClocksEventReasons, unsigned long long, throttle)
#endif
REPLAYED(nvmlDeviceGetCurrentClocksThrottleReasons, unsigned long long, throttle)

int nvmlDeviceGetTemperature(Device *gpu, int sensor, unsigned *celsius) {
    static int places[MAX_GPUS];
    Sample sample = {0};
    (void)sensor;
    int code = next(__func__, gpu, places, &sample);
    *celsius = sample.temperature;
    return code;
}

int nvmlDeviceGetClockInfo(Device *gpu, int kind, unsigned *mhz) {
    static int places[MAX_GPUS];
    Sample sample = {0};
    (void)kind;
    int code = next(__func__, gpu, places, &sample);
    *mhz = sample.clock_mhz;
    return code;
}

typedef struct { unsigned long long total, free, used; } Memory;

/* Asked once more than the others (for the facts), so the first call does not move on. */
int nvmlDeviceGetMemoryInfo(Device *gpu, Memory *memory) {
    static int places[MAX_GPUS], known[MAX_GPUS];
    Sample sample = {0};
    if (!known[number_of(gpu)]++) {
        *memory = (Memory){gpu->memory, gpu->memory, 0};
        return unsupported(__func__) ? NOT_SUPPORTED : SUCCESS;
    }
    int code = next(__func__, gpu, places, &sample);
    *memory = (Memory){gpu->memory, gpu->memory - sample.memory, sample.memory};
    return code;
}
