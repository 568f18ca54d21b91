/* A libcuda.so.1 that counts GPUs in an order of its own: FAKE_CUDA_ORDER names their numbers on the bus, the fastest
 * first, as "2,0,1". CUDA_VISIBLE_DEVICES picks among them by place, as CUDA does. Only what the meter calls is here.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GPUS 8

static int order[GPUS], visible[GPUS], count;

static int numbers(const char *text, int *into) {
    int read = 0;
    for (char *end; text && *text && read < GPUS; text = *end == ',' ? end + 1 : end) {
        into[read++] = (int)strtol(text, &end, 10);
        if (end == text) break;
    }
    return read;
}

int cuInit(unsigned flags) {
    int all = numbers(getenv("FAKE_CUDA_ORDER"), order), chosen[GPUS], wanted = numbers(getenv("CUDA_VISIBLE_DEVICES"), chosen);
    (void)flags;
    if (!all) return 100;
    for (count = 0; count < wanted && chosen[count] < all; count++) visible[count] = order[chosen[count]];
    return 0;
}

int cuDeviceGetCount(int *answer) { *answer = count; return 0; }
int cuDeviceGet(int *device, int place) { *device = visible[place]; return place >= count; }
int cuDeviceGetPCIBusId(char *text, int length, int device) { snprintf(text, (size_t)length, "0000:%02x:00.0", device); return 0; }
