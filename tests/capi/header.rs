//! The header, generated from the sources of the C API.

use std::path::Path;

use cbindgen::{Builder, Config, DocumentationStyle, Language, Style};

/// In reading order.
const SOURCES: [&str; 10] = [
    "version.rs",
    "code.rs",
    "config.rs",
    "event.rs",
    "hooks.rs",
    "node.rs",
    "control.rs",
    "token.rs",
    "stats.rs",
    "log.rs",
];

const VERSION: &str = env!("CARGO_PKG_VERSION");

const INTRODUCTION: &str = "\
/* leasehold: one leader at a time, over NATS JetStream. C99 or newer, or C++11.
 *
 * Generated from the sources of the library; do not edit.
 *
 * Calls. Any thread may call any function, several at once, and callbacks too, unless its
 * documentation says otherwise. A call keeps no pointer except functions and their user_data. Texts
 * are UTF-8, end with a zero byte, and are copied. A freed handle is LEASEHOLD_E_HANDLE (where
 * pointers have 32 bits, until 32,768 more handles were made); a null pointer is LEASEHOLD_E_NULL.
 * These faults cannot be detected and are undefined: a text without a zero byte, a buffer or struct
 * that is smaller than stated, a callback that throws, and closing a descriptor of this library.
 *
 * Process. In a forked child, leasehold_is_leader and leasehold_token_is_valid return false, and
 * every other call returns LEASEHOLD_E_FORKED: fork before the first call, or exec. The shared
 * library stays loaded: dlclose is allowed, and does not unload it. A plug-in that contains the
 * static library must stay loaded as well (link it with -z nodelete). The library does not change
 * signal handlers; its threads block all signals. When memory runs out, the process is aborted. A
 * call needs 64 KiB of stack, and 512 KiB to read the most deeply nested JSON that is accepted.
 *
 * How a term ends. A node steps down after leasehold_step_down, leasehold_transfer,
 * leasehold_set_healthy with false, and leasehold_stop. From then on leasehold_is_leader is false,
 * and the lease is held until the work has stopped:
 * - with callbacks, until on_lose_leadership has returned;
 * - if the program has ever asked for events, until it has called leasehold_drained with the epoch
 *   of LEASEHOLD_RESIGNING.
 * Then the lease is released, another node takes over, and LEASEHOLD_LOST_LEADERSHIP is queued. If
 * the work has not stopped within the drain timeout (default 10 s), that event has the cause
 * LEASEHOLD_DRAIN_TIMED_OUT, the lease is not released, and other nodes wait until it expires.
 *
 * leasehold_stop waits for callbacks only: the caller must have stopped the work. Events can be
 * taken after it, until leasehold_free, which stops a running node first. When a node loses its
 * term without stepping down, there is only LEASEHOLD_LOST_LEADERSHIP.
 */";

pub(crate) fn generate() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = Config {
        language: Language::C,
        style: Style::Both,
        cpp_compat: true,
        include_guard: Some("LEASEHOLD_H".into()),
        header: Some(INTRODUCTION.into()),
        no_includes: true,
        sys_includes: ["stdbool.h", "stddef.h", "stdint.h"].map(String::from).to_vec(),
        after_includes: Some(format!("\n#define LEASEHOLD_VERSION \"{VERSION}\"")),
        usize_is_size_t: true,
        documentation_style: DocumentationStyle::C99,
        line_length: 100,
        ..Config::default()
    };
    let mut builder = Builder::new().with_config(config);
    for source in SOURCES {
        builder = builder.with_src(root.join("src/capi").join(source));
    }
    let mut text = Vec::new();
    builder.generate().expect("a header").write(&mut text);
    String::from_utf8(text).expect("a text")
}
