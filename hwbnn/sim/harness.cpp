// Drives a Verilated accelerator through a C interface: the compiled counterpart of bench.py, cycle for cycle.
//
// Built with the model into one shared library. Each run has a model and a context of its own, so runs may
// go on in several threads. A cycle is: set inputs while the clock is low, settle, look, raise the clock.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "Vtop.h"
#include "verilated.h"
#include "verilated_syms.h"
#if TRACE
#include TRACE_HEADER  // and TRACE_CLASS: the writer of the chosen format
#endif

namespace {

constexpr int kResetCycles = 4;

enum Fault : int32_t { kNone = 0, kChanged = 1, kFell = 2 };

// Mirrored by hwbnn.sim.compiled_engine.Job, field for field.
struct Job {
    const uint8_t* stimulus;  // frames x beats_in x bytes_in
    int64_t frames, beats_in, bytes_in, beats_out, bytes_out;
    const uint8_t* gaps;  // cycles in which the producer pauses, repeated; null: none
    int64_t gaps_length;
    const uint8_t* pauses;  // the same for the consumer
    int64_t pauses_length;
    int64_t patience, counted_from, counted_to;
    int64_t reset_after;  // beats that a reset wipes out first
    int64_t reset_taken;  // whether the output is taken meanwhile
    const uint8_t* config;  // pairs of tdata and tlast for s_axis_cfg, before anything else
    int64_t config_length;
    int64_t linger;  // cycles after the last frame
    uint8_t* beats;  // frames x beats_out x bytes_out
    uint8_t* lasts;  // frames x beats_out
    int64_t* in_cycles;  // frames: first input transfer
    int64_t* out_cycles;  // frames: last output transfer
    const char* wave;  // file, or null; only where the library was built with TRACE
    // Written by the run, and read meanwhile.
    volatile int64_t sent, received, cycles;
    volatile int32_t cancel;
    int32_t fault;
    int64_t fault_cycle, surplus;
};

struct Tap {
    const uint8_t *valid, *ready, *payload, *level = nullptr;
    int64_t bytes, level_bytes = 0;
    std::vector<int64_t> cycles;
    std::vector<uint8_t> payloads;
    int64_t transferred = 0, stalled = 0, starved = 0;  // cycles of each kind, while counted
    uint64_t occupancy = 0;
    bool waiting = false;
};

struct Flip {
    int64_t cycle;
    uint8_t* byte;
    uint8_t mask;
};

struct Pattern {
    const uint8_t* cycles;
    int64_t length, at = 0;
    bool next() {
        if (!cycles) return false;
        bool pause = cycles[at];
        if (++at == length) at = 0;
        return pause;
    }
};

template <typename Wide> inline void put(Wide& port, const uint8_t* bytes, size_t count) {
    static_assert(sizeof(Wide) >= 1, "");
    std::memcpy(reinterpret_cast<void*>(&port), bytes, count);
}

class Simulation {
  public:
    Simulation() : context_(new VerilatedContext), top_(new Vtop(context_.get())) {}
    ~Simulation() { top_->final(); }

    // Watches a stream, and the level of the FIFO behind it if there is one. Returns whether there is the stream.
    bool tap(const char* scope, const char* port, bool fifo) {
        const VerilatedScope* where = context_->scopeFind((std::string("TOP.") + scope).c_str());
        if (!where) return false;
        Tap tap;
        const std::string name(port);
        for (auto [suffix, target] : {std::pair{"__valid", &tap.valid}, {"__ready", &tap.ready}}) {
            const VerilatedVar* var = where->varFind((name + suffix).c_str());
            if (!var) return false;
            *target = static_cast<const uint8_t*>(var->datap());
        }
        const VerilatedVar* var = where->varFind((name + "__payload").c_str());
        if (!var) return false;
        tap.payload = static_cast<const uint8_t*>(var->datap());
        tap.bytes = (var->entBits() + 7) / 8;
        if (fifo) {
            where = context_->scopeFind((std::string("TOP.") + scope + ".fifo").c_str());
            var = where ? where->varFind("level") : nullptr;
            if (var) {
                tap.level = static_cast<const uint8_t*>(var->datap());
                tap.level_bytes = var->entSize();
            }
        }
        taps_.push_back(std::move(tap));
        return true;
    }

    // Has a bit of a register change in a cycle. Returns whether there is that bit, open to writing.
    bool flip(const char* scope, const char* name, int64_t bit, int64_t cycle) {
        const VerilatedScope* where = context_->scopeFind((std::string("TOP.") + scope).c_str());
        const VerilatedVar* var = where ? where->varFind(name) : nullptr;
        if (where && !var) var = where->varFind(("\\" + std::string(name) + " ").c_str());  // as Verilog spells it
        if (!var || !var->isPublicRW() || bit >= int64_t(var->entBits())) return false;
        flips_.push_back({cycle, static_cast<uint8_t*>(var->datap()) + bit / 8, uint8_t(1 << bit % 8)});
        return true;
    }

    void run(Job& job) {
        std::stable_sort(flips_.begin(), flips_.end(),
                         [](const Flip& one, const Flip& other) { return one.cycle < other.cycle; });
        auto flip = flips_.begin();
#if TRACE
        if (job.wave) open_wave(job);
#endif
        reset();
#if LOADABLE
        configure(job);
#endif
        if (job.reset_after) interrupted_frame(job);
        const int64_t total = job.frames * job.beats_in, wanted = job.frames * job.beats_out;
        Pattern gaps{job.gaps, job.gaps_length}, pauses{job.pauses, job.pauses_length};
        std::vector<uint8_t> held(job.bytes_out + 1);
        bool offering = false, holding = false;
        int64_t sent = 0, received = 0, cycle = 0, moved = 0;
        while (received < wanted && cycle - moved <= job.patience && !job.cancel) {
            if (!offering && sent < total && !gaps.next()) {
                put(top_->s_axis_tdata, job.stimulus + sent * job.bytes_in, job.bytes_in);
                top_->s_axis_tlast = sent % job.beats_in == job.beats_in - 1;
                top_->s_axis_tvalid = 1;
                offering = true;
            }
            for (; flip != flips_.end() && flip->cycle == cycle; ++flip) *flip->byte ^= flip->mask;
            const bool taking = !pauses.next();
            top_->m_axis_tready = taking;
            low();
            const bool accepted = offering && top_->s_axis_tready;
            if (accepted && sent % job.beats_in == 0) job.in_cycles[sent / job.beats_in] = cycle;
            if (top_->m_axis_tvalid) {
                const uint8_t* data = reinterpret_cast<const uint8_t*>(&top_->m_axis_tdata);
                const uint8_t last = top_->m_axis_tlast;
                if (holding && (std::memcmp(held.data(), data, job.bytes_out) || held[job.bytes_out] != last))
                    fault(job, kChanged, cycle);
                holding = !taking;
                if (taking) {
                    std::memcpy(job.beats + received * job.bytes_out, data, job.bytes_out);
                    job.lasts[received] = last;
                    if (received % job.beats_out == job.beats_out - 1) job.out_cycles[received / job.beats_out] = cycle;
                    job.received = ++received;
                    moved = cycle;
                } else {
                    std::memcpy(held.data(), data, job.bytes_out);
                    held[job.bytes_out] = last;
                }
            } else if (holding) {
                fault(job, kFell, cycle);
                holding = false;
            }
            for (Tap& tap : taps_) sample(tap, cycle, received >= job.counted_from * job.beats_out && received < job.counted_to * job.beats_out);
            high();
            job.cycles = ++cycle;
            if (accepted) {
                job.sent = ++sent;
                offering = false;
                moved = cycle;
                if (sent == total || job.gaps) top_->s_axis_tvalid = 0;
            }
        }
        top_->m_axis_tready = 1;
        for (int64_t n = 0; n < job.linger && !job.cancel; ++n) {
            low();
            job.surplus += top_->m_axis_tvalid;
            high();
        }
#if TRACE
        if (trace_) trace_->close();
        trace_.reset();
#endif
    }

    std::vector<Tap> taps_;
    std::vector<Flip> flips_;

  private:
    void low() {
        top_->aclk = 0;
        top_->eval();
#if TRACE
        dump();
#endif
    }

    void high() {
        top_->aclk = 1;
        context_->timeInc(5);
        top_->eval();
#if TRACE
        dump();
#endif
        context_->timeInc(5);
    }

    void cycle() {
        low();
        high();
    }

    void reset() {
        top_->s_axis_tvalid = top_->s_axis_tlast = top_->m_axis_tready = 0;
        std::memset(reinterpret_cast<void*>(&top_->s_axis_tdata), 0, sizeof(top_->s_axis_tdata));
        top_->aresetn = 0;
        for (int n = 0; n < kResetCycles; ++n) cycle();
        top_->aresetn = 1;
    }

#if LOADABLE
    void configure(const Job& job) {
        for (int64_t n = 0; n < job.config_length; ++n) {
            top_->s_axis_cfg_tvalid = 1;
            top_->s_axis_cfg_tdata = job.config[2 * n];
            top_->s_axis_cfg_tlast = job.config[2 * n + 1];
            cycle();
        }
        top_->s_axis_cfg_tvalid = 0;
        cycle();
        cycle();
    }
#endif

    void interrupted_frame(const Job& job) {
        top_->m_axis_tready = job.reset_taken != 0;
        top_->s_axis_tvalid = 1;
        const int64_t total = job.frames * job.beats_in;
        int64_t sent = 0;
        for (int64_t n = 0; n < job.patience && sent < job.reset_after; ++n) {
            put(top_->s_axis_tdata, job.stimulus + sent % total * job.bytes_in, job.bytes_in);
            top_->s_axis_tlast = sent % job.beats_in == job.beats_in - 1;
            low();
            sent += top_->s_axis_tready;
            high();
        }
        reset();
    }

    static void sample(Tap& tap, int64_t cycle, bool counted) {
        const bool valid = *tap.valid, ready = *tap.ready;
        tap.waiting = valid && !ready;
        if (counted) {
            tap.transferred += valid && ready;
            tap.stalled += tap.waiting;
            tap.starved += ready && !valid;
        }
        if (tap.level) {
            uint64_t level = 0;  // little-endian, as everything here
            std::memcpy(&level, tap.level, tap.level_bytes);
            if (level > tap.occupancy) tap.occupancy = level;
        }
        if (!valid || !ready) return;
        tap.cycles.push_back(cycle);
        tap.payloads.insert(tap.payloads.end(), tap.payload, tap.payload + tap.bytes);
    }

    static void fault(Job& job, Fault kind, int64_t cycle) {
        if (job.fault) return;
        job.fault = kind;
        job.fault_cycle = cycle;
    }

    std::unique_ptr<VerilatedContext> context_;
    std::unique_ptr<Vtop> top_;

#if TRACE
    void open_wave(const Job& job) {
        context_->traceEverOn(true);
        trace_.reset(new TRACE_CLASS);
        top_->trace(trace_.get(), 99);
        trace_->open(job.wave);
    }

    void dump() {
        if (trace_) trace_->dump(context_->time());
    }

    std::unique_ptr<TRACE_CLASS> trace_;
#endif
};

}  // namespace

extern "C" {

void* simulation_new() { return new Simulation; }
void simulation_delete(void* self) { delete static_cast<Simulation*>(self); }
void simulation_run(void* self, Job* job) { static_cast<Simulation*>(self)->run(*job); }

int simulation_tap(void* self, const char* scope, const char* port, int fifo) {
    return static_cast<Simulation*>(self)->tap(scope, port, fifo);
}

int simulation_flip(void* self, const char* scope, const char* name, int64_t bit, int64_t cycle) {
    return static_cast<Simulation*>(self)->flip(scope, name, bit, cycle);
}

// Numbers of tap k: transfers and bytes of each, whether it waits at the end, then as in hwbnn.sim.taps.Tapped;
// an occupancy of -1 where there is no FIFO.
void simulation_tap_counts(void* self, int k, int64_t* counts) {
    const Tap& tap = static_cast<Simulation*>(self)->taps_[k];
    const int64_t values[] = {int64_t(tap.cycles.size()), tap.bytes, tap.waiting, tap.transferred, tap.stalled,
                              tap.starved, tap.level ? int64_t(tap.occupancy) : -1};
    std::memcpy(counts, values, sizeof(values));
}

void simulation_tap_transfers(void* self, int k, int64_t* cycles, uint8_t* payloads) {
    const Tap& tap = static_cast<Simulation*>(self)->taps_[k];
    if (tap.cycles.empty()) return;
    std::memcpy(cycles, tap.cycles.data(), tap.cycles.size() * sizeof(int64_t));
    std::memcpy(payloads, tap.payloads.data(), tap.payloads.size());
}
}
