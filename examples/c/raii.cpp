// Handles with destructors, errors as exceptions, and work while this node leads. C++17.
#include <chrono>
#include <iostream>
#include <leasehold.h>
#include <memory>
#include <stdexcept>
#include <thread>

template <auto F> struct Deleter { template <class T> void operator()(T *handle) { F(handle); } };
using Config = std::unique_ptr<leasehold_config, Deleter<leasehold_config_free>>;
using Node = std::unique_ptr<leasehold_node, Deleter<leasehold_free>>;
using Token = std::unique_ptr<leasehold_token, Deleter<leasehold_token_free>>;

template <class Handle, class... Taken, class... Given>
Handle make(leasehold_code (*function)(Taken...), Given... given) {
    typename Handle::pointer made = nullptr;
    if (function(given..., &made) != LEASEHOLD_OK) throw std::runtime_error(leasehold_last_error());
    return Handle(made);
}

int main(int argc, char **argv) try {
    auto config = make<Config>(leasehold_config_new, "raii", "a", argc > 1 ? argv[1] : "localhost");
    auto node = make<Node>(leasehold_start, config.get(), nullptr);
    if (leasehold_wait_for_leadership(node.get(), 60000) != LEASEHOLD_OK) return 2;
    auto token = make<Token>(leasehold_token_acquire, node.get());
    for (int job = 0; job < 3 && leasehold_token_is_valid(token.get()); job++) {
        std::cout << "job in epoch " << leasehold_token_epoch(token.get()) << std::endl;
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
} catch (const std::exception &error) { std::cerr << error.what() << '\n'; return 1; }
