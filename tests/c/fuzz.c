/* Random steps, each taken on every instruction set of this machine, with one and with several threads,
 * at other alignments and split into other tensors: all must leave the same bits, and write nothing
 * beside the buffers. Any difference aborts.
 *
 *     clang -fsanitize=fuzzer,address,undefined -I../../csrc fuzz.c ...    # libFuzzer makes the inputs
 *     cc -DRUNS=10000 -I../../csrc fuzz.c ...                              # a generator makes them
 *
 * To be linked with all of csrc but isa.c, which is compiled in here: the library itself chooses
 * its instruction set once, when it is loaded. */
#include "../../csrc/isa.c"

#include <math.h>
#include <stdlib.h>

static const uint64_t last_step_allowed = (uint64_t)1 << 53;
enum { SMALL = 300, LARGE = 300000, BLOCK = 4096, GUARD = 64 };
/* Of a tensor: param, grad, states, and perhaps a remainder and a copy. */
enum { BUFFERS = 2 + FO_MAX_STATES + 2 };

/* The bytes of an input, and zeros after its end. */
typedef struct input {
    const uint8_t *data;
    size_t size;
} input;

static uint64_t take(input *from, int bytes)
{
    uint64_t value = 0;
    for (; bytes && from->size; bytes--, from->size--)
        value = value << 8 | *from->data++;
    return value;
}

static uint64_t scramble(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Special values and any bits at all among plain numbers; how many, `rarity` says. */
static void set_element(fo_dtype dtype, void *buffer, size_t i, uint64_t bits, unsigned rarity,
                        int nonnegative)
{
    static const double special[] = {NAN,     INFINITY, 0.0,    -0.0,   5e-324,  1e-310,    1e-45,
                                     1e-40,   1e-38,    3e38,   1e308,  1.0,     2e-38,     1e19,
                                     -1e-308, -3e38,    -1e308, -1e-45, -1e-310, -INFINITY, 1e-20};
    double x = (double)((int64_t)(bits >> 20 & 0xffffffff) - 0x80000000) * 0x1p-30;
    const unsigned kind = (unsigned)(bits % (rarity + 2));
    if (kind == 0)
        x = special[(bits >> 8) % (sizeof special / sizeof *special)];
    if (nonnegative)
        x = fabs(x);
    if (dtype == FO_FLOAT64) {
        if (kind == 1)
            memcpy(&x, &bits, sizeof x);
        ((double *)buffer)[i] = x;
        return;
    }
    float y = (float)x;
    if (kind == 1)
        memcpy(&y, &bits, sizeof y);
    uint32_t word;
    memcpy(&word, &y, sizeof word);
    if (dtype == FO_FLOAT32)
        ((float *)buffer)[i] = y;
    else if (dtype == FO_BFLOAT16)
        ((uint16_t *)buffer)[i] = (uint16_t)(word >> 16);
    else /* of any size that it has */
        ((uint16_t *)buffer)[i] = (uint16_t)(nonnegative ? word >> 16 & 0x7fff : word >> 16);
}

static void set_block(fo_block8 *block, uint64_t bits, unsigned rarity)
{
    set_element(FO_FLOAT32, &block->scale, 0, bits, rarity, 1);
    for (int i = 0; i < FO_BLOCK; i++)
        block->codes[i] = (uint8_t)(scramble(&bits) >> 56);
}

typedef struct scene {
    fo_group group;
    fo_options options;
    fo_format format[BUFFERS];
    fo_rounding rounding;
    uint64_t step, seed, position;
    size_t n;
    int buffers, states;
    int remainder, copy;  /* which buffer it is, or 0 */
    char *start[BUFFERS]; /* the content before the step */
} scene;

typedef struct outcome {
    fo_status status;
    fo_result result;
    char *content[BUFFERS];
} outcome;

static void *allocate(size_t size)
{
    void *memory = NULL;
    if (posix_memalign(&memory, 64, size ? size : 1))
        abort();
    return memory;
}

static size_t size_of(const scene *of, int buffer)
{
    return fo_format_describe(of->format[buffer])->bytes;
}

/* Elements of a buffer, or blocks, that hold n elements. */
static size_t count_of(const scene *of, int buffer, size_t n)
{
    const size_t together = fo_format_describe(of->format[buffer])->elements;
    return (n + together - 1) / together;
}

static size_t bytes_of(const scene *of, int buffer, size_t n)
{
    return count_of(of, buffer, n) * size_of(of, buffer);
}

/* n elements from begin on. */
static fo_tensor tensor_of(const scene *of, char *const *at, size_t begin, size_t n)
{
    char *from[BUFFERS];
    for (int b = 0; b < of->buffers; b++)
        from[b] = at[b] + bytes_of(of, b, begin);
    fo_tensor tensor = {.dtype = FO_MIXED,
                        .n = n,
                        .param = from[0],
                        .grad = from[1],
                        .step = of->step,
                        .param_format = of->format[0],
                        .grad_format = of->format[1],
                        .rounding = of->rounding,
                        .seed = of->seed,
                        .position = of->position + begin};
    for (int k = 0; k < of->states; k++) {
        tensor.state[k] = from[2 + k];
        tensor.state_format[k] = of->format[2 + k];
    }
    tensor.remainder = of->remainder ? (int16_t *)from[of->remainder] : NULL;
    tensor.copy = of->copy ? (uint16_t *)from[of->copy] : NULL;
    return tensor;
}

/* One step under one arrangement: elements of offset from the cache line, pieces of the buffers. */
static void run(const scene *of, fo_isa_index isa, int threads, unsigned offset, size_t piece,
                outcome *to)
{
    enum { MAX_PIECES = 512 };
    static fo_tensor tensors[MAX_PIECES];
    static double carried[MAX_PIECES][FO_MAX_CARRIED];
    char *memory[BUFFERS], *at[BUFFERS];
    for (int b = 0; b < of->buffers; b++) {
        const size_t bytes = bytes_of(of, b, of->n);
        const size_t shift =
            GUARD + (offset + 3 * (unsigned)b * (offset != 0)) % 16 * size_of(of, b);
        memory[b] = allocate(bytes + shift + GUARD);
        memset(memory[b], 0xa5, bytes + shift + GUARD);
        at[b] = memory[b] + shift;
        memcpy(at[b], of->start[b], bytes);
    }
    size_t count = 0;
    for (size_t begin = 0; begin < of->n || !count; count++) {
        const size_t left = of->n - begin;
        const size_t n = count + 1 < MAX_PIECES && piece < left ? piece : left;
        tensors[count] = tensor_of(of, at, begin, n);
        for (int k = 0; k < FO_MAX_CARRIED; k++)
            carried[count][k] = 0.5;
        tensors[count].carried = carried[count];
        begin += n;
    }
    in_use = isa;
    fo_set_num_threads(threads);
    to->status = fo_step(&of->group, 1, tensors, count, &of->options, &to->result);
    for (int b = 0; b < of->buffers; b++) {
        const size_t bytes = bytes_of(of, b, of->n);
        for (char *p = memory[b]; p < at[b]; p++)
            if (*p != (char)0xa5)
                abort();
        for (int i = 0; i < GUARD; i++)
            if (at[b][bytes + (size_t)i] != (char)0xa5)
                abort();
        to->content[b] = allocate(bytes);
        memcpy(to->content[b], at[b], bytes);
        free(memory[b]);
    }
}

static int same_element(fo_dtype dtype, const char *a, const char *b, size_t i)
{
    if (dtype == FO_FLOAT64) {
        double x, y;
        memcpy(&x, a + i * sizeof x, sizeof x);
        memcpy(&y, b + i * sizeof y, sizeof y);
        return memcmp(&x, &y, sizeof x) == 0 || (isnan(x) && isnan(y));
    }
    if (dtype == FO_FLOAT32) {
        float x, y;
        memcpy(&x, a + i * sizeof x, sizeof x);
        memcpy(&y, b + i * sizeof y, sizeof y);
        return memcmp(&x, &y, sizeof x) == 0 || (isnan(x) && isnan(y));
    }
    if (dtype == FO_BLOCK8) {
        fo_block8 x, y;
        memcpy(&x, a + i * sizeof x, sizeof x);
        memcpy(&y, b + i * sizeof y, sizeof y);
        return same_element(FO_FLOAT32, (const char *)&x.scale, (const char *)&y.scale, 0) &&
               memcmp(x.codes, y.codes, sizeof x.codes) == 0;
    }
    const uint16_t infinity = dtype == FO_BFLOAT16 ? 0x7f80 : 0x7c00;
    uint16_t x, y;
    memcpy(&x, a + i * sizeof x, sizeof x);
    memcpy(&y, b + i * sizeof y, sizeof y);
    return x == y || ((x & 0x7fff) > infinity && (y & 0x7fff) > infinity);
}

static void require_same(const scene *of, const outcome *a, const outcome *b, const char *name)
{
    int same =
        a->status == b->status && a->result.skipped == b->result.skipped &&
        same_element(FO_FLOAT64, (const char *)&a->result.norm, (const char *)&b->result.norm, 0);
    for (int k = 0; k < of->buffers; k++)
        for (size_t i = 0; i < count_of(of, k, of->n); i++)
            same &= same_element(of->format[k], a->content[k], b->content[k], i);
    if (!same) {
        fprintf(stderr, "%s, %zu elements: %s differs; formats",
                fo_rule_describe(of->group.rule)->name, of->n, name);
        for (int k = 0; k < of->buffers; k++)
            fprintf(stderr, " %s", fo_format_describe(of->format[k])->name);
        fprintf(stderr, "\n");
        abort();
    }
}

static void require_unchanged(const scene *of, const outcome *it)
{
    for (int b = 0; b < of->buffers; b++)
        if ((b == 1 || it->status != FO_OK || it->result.skipped) &&
            memcmp(it->content[b], of->start[b], bytes_of(of, b, of->n)) != 0) {
            fprintf(stderr, "buffer %d was written\n", b);
            abort();
        }
}

static double take_hyper(input *from, fo_domain domain)
{
    static const double usual[] = {0.0, 1e-8, 1e-3, 0.1, 0.5, 0.9, 0.999, 1.0};
    const unsigned kind = (unsigned)take(from, 1);
    if (domain == FO_FLAG)
        return kind & 1;
    double x = usual[kind % 8];
    if (kind >> 5 == 7) { /* any number at all, often outside the domain */
        const uint64_t bits = take(from, 8);
        memcpy(&x, &bits, sizeof x);
    } else if (domain == FO_FRACTION && x == 1.0) {
        x = 0x1.fffffffffffffp-1;
    }
    return (kind >> 3 & 7) == 7 || domain == FO_FINITE ? x : fabs(x);
}

/* All float64, or any mixture of the others; the combinations that have loops of their own more often. */
static void decode_formats(input *from, scene *to, int is_double)
{
    static const fo_format any[] = {FO_FLOAT32, FO_BFLOAT16, FO_FLOAT16, FO_BLOCK8};
    static const fo_format usual[][3] = {{FO_FLOAT32, FO_FLOAT32, FO_FLOAT32},
                                         {FO_BFLOAT16, FO_BFLOAT16, FO_BFLOAT16},
                                         {FO_FLOAT32, FO_FLOAT32, FO_BFLOAT16},
                                         {FO_FLOAT32, FO_BFLOAT16, FO_FLOAT32},
                                         {FO_BFLOAT16, FO_BFLOAT16, FO_FLOAT32}};
    const unsigned kind = (unsigned)take(from, 1) % 8, choice = (unsigned)take(from, 1);
    for (int b = 0; b < to->buffers; b++)
        to->format[b] = is_double  ? FO_FLOAT64
                        : kind < 5 ? usual[kind][b < 2 ? b : 2]
                                   : any[(choice >> b & 3) % (b < 2 ? 3 : 4)];
    for (int b = 2; b < to->buffers && !is_double; b++)
        if (kind == 7)
            to->format[b] = FO_BLOCK8;
    to->rounding = choice & 64 ? FO_STOCHASTIC : FO_NEAREST;
    to->seed = take(from, 1);
    /* At times near a place where the upper half of positions changes. */
    to->position = (uint64_t)take(from, 1) << 32;
    to->position -= to->position ? take(from, 1) : 0;
    if (choice & 128 && to->format[0] == FO_BFLOAT16)
        to->format[to->remainder = to->buffers++] = FO_FLOAT16; /* 16 bits */
    if (choice & 128 && to->format[0] == FO_FLOAT32)
        to->format[to->copy = to->buffers++] = FO_BFLOAT16;
}

static void decode(input *from, scene *to)
{
    memset(to, 0, sizeof *to);
    to->group.rule = (fo_rule)(take(from, 1) % FO_RULE_COUNT);
    to->group.hyper = fo_defaults(to->group.rule);
    const fo_rule_info *info = fo_rule_describe(to->group.rule);
    const unsigned flags = (unsigned)take(from, 1);
    to->states = info->state_count + (flags & 2 ? info->optional_count : 0);
    to->buffers = 2 + to->states;
    decode_formats(from, to, flags & 1);
    to->options = (fo_options)FO_DEFAULT_OPTIONS;
    to->options.clip = !!(flags & 4);
    to->options.skip_nonfinite = !!(flags & 8);
    if (flags & 16)
        to->options.grad_scale = take_hyper(from, FO_FINITE);
    if (to->options.clip)
        to->options.max_norm = take_hyper(from, FO_NONNEGATIVE);
    to->group.hyper.lr = 0.01;
    for (int i = 0; i < info->hyper_count; i++)
        if (info->hypers[i].scope != FO_FIXED && take(from, 1) & 1) {
            const fo_hyper_index index = info->hypers[i].index;
            ((double *)&to->group.hyper)[index] =
                take_hyper(from, fo_hyper_describe(index)->domain);
        }
    to->step = 1 + (flags & 32 ? take(from, 8) % last_step_allowed : take(from, 1));
    /* Few inputs are long enough for several threads, for those take most of the time. */
    const unsigned length = (unsigned)take(from, 1);
    to->n = (size_t)take(from, 4) % (length >= 254 ? LARGE : length >= 200 ? 3 * BLOCK : SMALL);
    const unsigned rarity = 1u << take(from, 1) % 12;
    uint64_t seed = take(from, 8);
    for (int b = 0; b < to->buffers; b++) {
        const size_t count = count_of(to, b, to->n);
        to->start[b] = allocate(count * size_of(to, b));
        const int nonnegative = b > 1 && !(flags & 64);
        for (size_t i = 0; i < count; i++) {
            const uint64_t bits = from->size ? take(from, 8) : scramble(&seed);
            if (to->format[b] == FO_BLOCK8)
                set_block((fo_block8 *)to->start[b] + i, bits, rarity);
            else
                set_element(to->format[b], to->start[b], i, bits, rarity, nonnegative);
        }
    }
}

static void forget(const scene *of, outcome *it)
{
    for (int b = 0; b < of->buffers; b++)
        free(it->content[b]);
}

static int has_blocks(const scene *of)
{
    for (int b = 0; b < of->buffers; b++)
        if (of->format[b] == FO_BLOCK8)
            return 1;
    return 0;
}

static long taken; /* inputs that were neither refused nor skipped */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input from = {data, size};
    const unsigned arrangement = (unsigned)take(&from, 2);
    scene of;
    decode(&from, &of);
    const unsigned offset = 1 + arrangement % 15;
    /* The order of the norm's additions goes by blocks of each tensor. */
    const size_t unit = of.options.clip || of.options.skip_nonfinite ? BLOCK
                        : has_blocks(&of)                            ? FO_BLOCK
                                                                     : 1;
    const size_t part = unit * (1 + (arrangement >> 4) % 1500);
    const int is_whole = fo_rule_takes_norms(of.group.rule) || of.group.hyper.cautious != 0;
    const size_t piece = is_whole ? of.n : part;

    outcome first, other;
    run(&of, available[0], 1, 0, of.n, &first);
    require_unchanged(&of, &first);
    taken += first.status == FO_OK && !first.result.skipped;
    for (int i = 0; i < available_count; i++) {
        run(&of, available[i], 1, offset, of.n, &other);
        require_same(&of, &first, &other, isa_names[available[i]]);
        forget(&of, &other);
        run(&of, available[i], 3, offset, piece, &other);
        require_same(&of, &first, &other, "several threads and tensors");
        forget(&of, &other);
    }
    forget(&of, &first);
    for (int b = 0; b < of.buffers; b++)
        free(of.start[b]);
    return 0;
}

#ifdef RUNS
int main(void)
{
    uint64_t seed = 1;
    for (long i = 0; i < RUNS; i++) {
        uint8_t data[256];
        for (size_t k = 0; k < sizeof data; k++)
            data[k] = (uint8_t)scramble(&seed);
        LLVMFuzzerTestOneInput(data, scramble(&seed) % (sizeof data + 1));
    }
    printf("%ld inputs, %ld of them steps, %d instruction sets: no difference\n", (long)RUNS, taken,
           available_count);
    return taken > RUNS / 4 ? 0 : 1;
}
#endif
