/* NVIDIA's driver as tests need it: one library under both names, which answers what variables say.

   DRIVER its version, CUDA the number of its CUDA (13020), GPUS such as "H100:9.0,T4:7.5", REFUSES an
   error of nvmlInit, FAULT an error of each GPU, DOES "crash" or "hang". */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *variable(const char *name, const char *otherwise) {
    const char *value = getenv(name);
    return value ? value : otherwise;
}

static int number(const char *name, int otherwise) {
    return atoi(variable(name, "")) ? atoi(variable(name, "")) : otherwise;
}

/* Writes the name of a GPU and its compute capability; returns 0 where there is none. */
static int gpu(int index, char *name, int *major, int *minor) {
    char gpus[4096];
    snprintf(gpus, sizeof gpus, "%s", variable("GPUS", "H100:9.0"));
    for (char *part = strtok(gpus, ","); part; part = strtok(NULL, ","), index--)
        if (index == 0) return sscanf(part, "%[^:]:%d.%d", name, major, minor) == 3;
    return 0;
}

static int count(void) {
    char name[256];
    int major, minor, gpus = 0;
    while (gpu(gpus, name, &major, &minor)) gpus++;
    return gpus;
}

int nvmlInit_v2(void) {
    if (!strcmp(variable("DOES", ""), "crash")) abort();
    if (!strcmp(variable("DOES", ""), "fault")) *(volatile int *)8 = 0;
    while (!strcmp(variable("DOES", ""), "hang")) sleep(1);
    return number("REFUSES", 0);
}

int nvmlInitWithFlags(unsigned flags) { (void)flags; return nvmlInit_v2(); }
int nvmlShutdown(void) { return 0; }

const char *nvmlErrorString(int code) {
    return code == 4 ? "Insufficient Permissions" : code == 15 ? "GPU is lost" : "Unknown Error";
}

int nvmlSystemGetDriverVersion(char *text, unsigned length) {
    snprintf(text, length, "%s", variable("DRIVER", "580.65.06"));
    return 0;
}

int nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = number("CUDA", 13020); return 0; }
int nvmlDeviceGetCount_v2(unsigned *gpus) { *gpus = count(); return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    *handle = (void *)(long)(index + 1);
    return number("FAULT", 0);
}

int nvmlDeviceGetName(void *handle, char *text, unsigned length) {
    char name[256] = "";
    int major, minor;
    gpu((long)handle - 1, name, &major, &minor);
    snprintf(text, length, "%s", name);
    return 0;
}

int nvmlDeviceGetMemoryInfo(void *handle, unsigned long long *memory) {
    (void)handle;
    memory[0] = 80ull << 30;
    return 0;
}

int nvmlDeviceGetCudaComputeCapability(void *handle, int *major, int *minor) {
    char name[256];
    return gpu((long)handle - 1, name, major, minor) ? 0 : 2;
}

int cuDriverGetVersion(int *version) { *version = number("CUDA", 13020); return 0; }
int cuInit(unsigned flags) { (void)flags; return number("CUINIT", 0); }
int cuDeviceGetCount(int *gpus) { *gpus = count(); return 0; }
int cuDeviceGetName(char *text, int length, int index) {
    return nvmlDeviceGetName((void *)(long)(index + 1), text, length);
}

int cuDeviceGetAttribute(int *value, int attribute, int index) {
    char name[256];
    int major = 0, minor = 0;
    gpu(index, name, &major, &minor);
    *value = attribute == 75 ? major : minor;
    return 0;
}
