// Tells how much memory llama.cpp would reserve for a model on GPUs that are not there.
//
// The devices registered here are named, aligned and padded as llama.cpp's CUDA backend does it, and can do nothing.
// The model is opened without allocating, so that a file without data answers too, in milliseconds.
//
//   llama-memory-truth -m MODEL -ngl 0,10,33 [-c 8192] [-b 2048] [-ub 512] [-np 4] [-kvu] [-o 4]
//                      [-ctk f16] [-ctv f16] [-fa 1] [-mem 24576,24576] [-ts 1,1]
//
// Prints a line for each number of layers, in bytes for each type of buffer: model (the weights), ctx (the cache) and
// comp (the compute buffer). `-o` is the number of tokens of a batch that results are wanted of, 0 for all; `-mem` the
// free MiB of each GPU. Ends with status 1 where llama.cpp refuses the load, and with 2 where it was asked wrongly.

#include "ggml-backend-impl.h"
#include "llama-ext.h"
#include "llama.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace {

// As in ggml-cuda: what tensors start at, and what the rows of quantised matrices are filled up to.
constexpr size_t DEVICE_ALIGNMENT_BYTES = 128;
constexpr size_t HOST_ALIGNMENT_BYTES = 64;
constexpr int64_t MATRIX_ROW_PADDING = 512;
// A batch at least this long is worth copying weights from RAM to a GPU for.
constexpr int64_t OFFLOAD_MIN_BATCH = 32;

struct Gpu {
    std::string name;
    size_t memory_bytes;
    ggml_backend_buffer_type buffer_type;
    ggml_backend_device device;
};

// A deque, since llama.cpp keeps pointers to its elements.
std::deque<Gpu> gpus;
ggml_backend_buffer_type host_buffer_type;
ggml_backend_reg registry;

Gpu & gpu_of(ggml_backend_dev_t device) { return *static_cast<Gpu *>(device->context); }

// ---- buffers -------------------------------------------------------------------------------------------------------

// Recurrent states are allocated also where nothing else is. They have to begin at what the type of buffer aligns to,
// which RAM as it comes may not do, or the last of them has no room.
ggml_backend_buffer_t buffer_alloc(ggml_backend_buffer_type_t type, size_t size) {
    const size_t alignment = ggml_backend_buft_get_alignment(type);
    ggml_backend_buffer_t buffer = ggml_backend_buft_alloc_buffer(ggml_backend_cpu_buffer_type(), size + alignment);
    buffer->buft = type;
    buffer->size = size;
    buffer->iface.get_base = [](ggml_backend_buffer_t self) {
        return reinterpret_cast<void *>(
            GGML_PAD(reinterpret_cast<uintptr_t>(self->context), ggml_backend_buft_get_alignment(self->buft)));
    };
    return buffer;
}

// The fused kernels read keys and values as f16: where they are kept as something else, copies of them lie behind the
// result, and only one where values are a view of the keys (ggml_cuda_flash_attn_ext_get_f16_extra_data).
size_t fused_attention_bytes(const ggml_tensor * result) {
    const ggml_tensor * keys = result->src[1];
    const ggml_tensor * values = result->src[2];
    size_t size = ggml_nbytes(result);
    const auto add_copy = [&](const ggml_tensor * tensor) {
        size = GGML_PAD(size, DEVICE_ALIGNMENT_BYTES) + ggml_nelements(tensor) * ggml_type_size(GGML_TYPE_F16);
    };
    if (keys->type != GGML_TYPE_F16) {
        add_copy(keys);
    }
    const bool values_are_keys =
        values->view_src != nullptr &&
        (values->view_src == keys || (values->view_src == keys->view_src && values->view_offs == keys->view_offs));
    if (values->type != GGML_TYPE_F16 && !values_are_keys) {
        add_copy(values);
    }
    return size;
}

size_t device_alloc_bytes(ggml_backend_buffer_type_t, const ggml_tensor * tensor) {
    size_t size = tensor->op == GGML_OP_FLASH_ATTN_EXT ? fused_attention_bytes(tensor) : ggml_nbytes(tensor);
    const int64_t beyond = tensor->ne[0] % MATRIX_ROW_PADDING;
    if (ggml_is_quantized(tensor->type) && beyond != 0) {
        size += ggml_row_size(tensor->type, MATRIX_ROW_PADDING - beyond);
    }
    return size;
}

ggml_backend_buffer_type_i device_buffer_interface() {
    ggml_backend_buffer_type_i interface = {};
    interface.get_name = [](ggml_backend_buffer_type_t type) { return gpu_of(type->device).name.c_str(); };
    interface.alloc_buffer = buffer_alloc;
    interface.get_alignment = [](ggml_backend_buffer_type_t) { return DEVICE_ALIGNMENT_BYTES; };
    interface.get_alloc_size = device_alloc_bytes;
    return interface;
}

ggml_backend_buffer_type_i host_buffer_interface() {
    ggml_backend_buffer_type_i interface = {};
    interface.get_name = [](ggml_backend_buffer_type_t) { return "CUDA_Host"; };
    interface.alloc_buffer = buffer_alloc;
    interface.get_alignment = [](ggml_backend_buffer_type_t) { return HOST_ALIGNMENT_BYTES; };
    interface.is_host = [](ggml_backend_buffer_type_t) { return true; };
    return interface;
}

// ---- devices -------------------------------------------------------------------------------------------------------

ggml_backend_t backend_init(ggml_backend_dev_t device, const char *) {
    static ggml_guid guid = {0x6c, 0x61, 0x75, 0x6e, 0x63, 0x68, 0x64, 0x65, 0x63, 0x6b, 0x74, 0x72, 0x75, 0x74, 0x68, 0x21};
    auto * backend = new ggml_backend{};
    backend->guid = &guid;
    backend->device = device;
    backend->context = device->context;
    backend->iface.get_name = [](ggml_backend_t self) { return static_cast<Gpu *>(self->context)->name.c_str(); };
    backend->iface.free = [](ggml_backend_t self) { delete self; };
    backend->iface.synchronize = [](ggml_backend_t) {};
    backend->iface.graph_compute = [](ggml_backend_t, ggml_cgraph *) { return GGML_STATUS_SUCCESS; };
    backend->iface.event_record = [](ggml_backend_t, ggml_backend_event_t) {};
    backend->iface.event_wait = [](ggml_backend_t, ggml_backend_event_t) {};
    return backend;
}

void device_memory(ggml_backend_dev_t device, size_t * free_bytes, size_t * total_bytes) {
    *free_bytes = *total_bytes = gpu_of(device).memory_bytes;
}

// Events and asynchronous copies decide whether llama.cpp works as a pipeline; host buffers, where its inputs lie.
void device_properties(ggml_backend_dev_t device, ggml_backend_dev_props * properties) {
    *properties = {};
    properties->name = gpu_of(device).name.c_str();
    properties->description = "a GPU that is not there";
    properties->type = GGML_BACKEND_DEVICE_TYPE_GPU;
    device_memory(device, &properties->memory_free, &properties->memory_total);
    properties->caps.async = true;
    properties->caps.host_buffer = true;
    properties->caps.events = true;
    properties->caps.mmap_support = true;
}

int64_t batch_size(const ggml_tensor * operation) {
    switch (operation->op) {
        case GGML_OP_GET_ROWS:
            return 0;
        case GGML_OP_MUL_MAT:
            return operation->ne[1];
        case GGML_OP_MUL_MAT_ID:
        case GGML_OP_ROPE:
        case GGML_OP_ROPE_BACK:
            return operation->ne[2];
        default:
            return ggml_nrows(operation);
    }
}

ggml_backend_device_i device_interface() {
    ggml_backend_device_i interface = {};
    interface.get_name = [](ggml_backend_dev_t device) { return gpu_of(device).name.c_str(); };
    interface.get_description = [](ggml_backend_dev_t) { return "a GPU that is not there"; };
    interface.get_memory = device_memory;
    interface.get_type = [](ggml_backend_dev_t) { return GGML_BACKEND_DEVICE_TYPE_GPU; };
    interface.get_props = device_properties;
    interface.init_backend = backend_init;
    interface.get_buffer_type = [](ggml_backend_dev_t device) { return &gpu_of(device).buffer_type; };
    interface.get_host_buffer_type = [](ggml_backend_dev_t) { return &host_buffer_type; };
    interface.supports_op = [](ggml_backend_dev_t, const ggml_tensor *) { return true; };
    interface.supports_buft = [](ggml_backend_dev_t device, ggml_backend_buffer_type_t type) {
        return type == &gpu_of(device).buffer_type;
    };
    interface.offload_op = [](ggml_backend_dev_t, const ggml_tensor * operation) {
        return batch_size(operation) >= OFFLOAD_MIN_BATCH;
    };
    interface.event_new = [](ggml_backend_dev_t device) { return new ggml_backend_event{device, nullptr}; };
    interface.event_free = [](ggml_backend_dev_t, ggml_backend_event_t event) { delete event; };
    interface.event_synchronize = [](ggml_backend_dev_t, ggml_backend_event_t) {};
    return interface;
}

void register_gpus(const std::vector<size_t> & memory_mib) {
    for (size_t index = 0; index < memory_mib.size(); index++) {
        Gpu & gpu = gpus.emplace_back(Gpu{"CUDA" + std::to_string(index), memory_mib[index] << 20, {}, {}});
        gpu.device = {device_interface(), &registry, &gpu};
        gpu.buffer_type = {device_buffer_interface(), &gpu.device, &gpu};
    }
    host_buffer_type = {host_buffer_interface(), &gpus.front().device, nullptr};
    registry.api_version = GGML_BACKEND_API_VERSION;
    registry.iface.get_name = [](ggml_backend_reg_t) { return "CUDA"; };
    registry.iface.get_device_count = [](ggml_backend_reg_t) { return gpus.size(); };
    registry.iface.get_device = [](ggml_backend_reg_t, size_t index) { return &gpus[index].device; };
    registry.iface.get_proc_address = [](ggml_backend_reg_t, const char *) -> void * { return nullptr; };
    ggml_backend_register(&registry);
}

// ---- the question --------------------------------------------------------------------------------------------------

struct Question {
    std::string path;
    std::vector<int> layer_counts;
    std::vector<size_t> memory_mib = {81920};
    std::vector<float> split;
    llama_context_params context = llama_context_default_params();
};

[[noreturn]] void refuse(const std::string & reason) {
    fprintf(stderr, "llama-memory-truth: %s\n", reason.c_str());
    exit(2);
}

double number(const std::string & text) {
    char * end = nullptr;
    const double value = strtod(text.c_str(), &end);
    if (text.empty() || *end != '\0') {
        refuse("no number: '" + text + "'");
    }
    return value;
}

template <typename T> std::vector<T> numbers(const std::string & text) {
    std::vector<T> values;
    for (size_t start = 0; start <= text.size();) {
        const size_t end = std::min(text.find(',', start), text.size());
        values.push_back(static_cast<T>(number(text.substr(start, end - start))));
        start = end + 1;
    }
    return values;
}

ggml_type type_named(const std::string & name) {
    for (int type = 0; type < GGML_TYPE_COUNT; type++) {
        if (name == ggml_type_name(static_cast<ggml_type>(type))) {
            return static_cast<ggml_type>(type);
        }
    }
    refuse("no type of a cache: '" + name + "'");
}

Question read_question(int argc, char ** argv) {
    Question asked;
    llama_context_params & context = asked.context;
    context.n_ctx = 8192;
    context.swa_full = false;  // as llama-server has it: layers with a window keep no more than that
    context.n_outputs_max = 0;
    using Reader = std::function<void(const std::string &)>;
    const std::map<std::string, Reader> readers = {
        {"-m", [&](const std::string & text) { asked.path = text; }},
        {"-ngl", [&](const std::string & text) { asked.layer_counts = numbers<int>(text); }},
        {"-mem", [&](const std::string & text) { asked.memory_mib = numbers<size_t>(text); }},
        {"-ts", [&](const std::string & text) { asked.split = numbers<float>(text); }},
        {"-c", [&](const std::string & text) { context.n_ctx = number(text); }},
        {"-b", [&](const std::string & text) { context.n_batch = number(text); }},
        {"-ub", [&](const std::string & text) { context.n_ubatch = number(text); }},
        {"-np", [&](const std::string & text) { context.n_seq_max = number(text); }},
        {"-o", [&](const std::string & text) { context.n_outputs_max = number(text); }},
        {"-ctk", [&](const std::string & text) { context.type_k = type_named(text); }},
        {"-ctv", [&](const std::string & text) { context.type_v = type_named(text); }},
        {"-fa", [&](const std::string & text) {
             context.flash_attn_type = static_cast<llama_flash_attn_type>(static_cast<int>(number(text)));
         }},
    };
    for (int index = 1; index < argc; index++) {
        const std::string option = argv[index];
        if (option == "-kvu") {
            context.kv_unified = true;
            continue;
        }
        const auto reader = readers.find(option);
        if (reader == readers.end() || index + 1 == argc) {
            refuse(reader == readers.end() ? "no option: '" + option + "'" : "nothing behind " + option);
        }
        reader->second(argv[++index]);
    }
    if (asked.path.empty() || asked.layer_counts.empty()) {
        refuse("-m and -ngl have to be there");
    }
    asked.split.resize(llama_max_devices(), 0.0F);  // as many as llama.cpp reads
    return asked;
}

// ---- the answer ----------------------------------------------------------------------------------------------------

bool answer(const Question & asked, int layers) {
    const auto started = std::chrono::steady_clock::now();
    llama_model_params how = llama_model_default_params();
    how.n_gpu_layers = layers;
    how.no_alloc = true;
    how.load_mode = LLAMA_LOAD_MODE_NONE;
    how.tensor_split = asked.split.data();
    llama_model * model = llama_model_load_from_file(asked.path.c_str(), how);
    if (model == nullptr) {
        return false;
    }
    llama_context * context = llama_init_from_model(model, asked.context);
    if (context != nullptr) {
        const std::chrono::duration<double, std::milli> taken = std::chrono::steady_clock::now() - started;
        printf("ngl=%d ms=%.0f", layers, taken.count());
        for (const auto & [type, sizes] : llama_get_memory_breakdown(context)) {
            const char * name = ggml_backend_buft_name(type);
            printf(" | %s model=%zu ctx=%zu comp=%zu", name, sizes.model, sizes.context, sizes.compute);
        }
        printf("\n");
        fflush(stdout);  // what was answered stays answered where the next number ends the program
        llama_free(context);
    }
    llama_model_free(model);
    return context != nullptr;
}

// Also what continues a line that was shown: without it an error would end in the middle.
void show_errors(ggml_log_level level, const char * text, void *) {
    static ggml_log_level shown = GGML_LOG_LEVEL_NONE;
    if (level != GGML_LOG_LEVEL_CONT) {
        shown = level;
    }
    if (shown == GGML_LOG_LEVEL_ERROR) {
        fputs(text, stderr);
    }
}

}  // namespace

int main(int argc, char ** argv) {
    llama_log_set(show_errors, nullptr);
    const Question asked = read_question(argc, argv);
    register_gpus(asked.memory_mib);
    llama_backend_init();
    for (const int layers : asked.layer_counts) {
        if (!answer(asked, layers)) {
            return 1;
        }
    }
    return 0;
}
