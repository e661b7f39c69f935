//! The header, generated from the sources of the C API.

use std::path::Path;

use cbindgen::{Builder, Config, DocumentationStyle, Language, Style};

/// In the order in which a reader wants them.
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
 * Every function may be called from any thread, also from several at once, and from callbacks
 * except where it says otherwise; it keeps no pointer beyond the call except functions and their
 * user_data; texts are UTF-8, end with a zero byte and are copied. A handle that was freed is
 * LEASEHOLD_E_HANDLE (where pointers have 32 bits, until 32,768 more were made), a null pointer
 * LEASEHOLD_E_NULL. Undefined is what cannot be checked: a text without a zero byte, a buffer or
 * struct smaller than it is said to be, callbacks that throw, and a descriptor of this library
 * that somebody else closes.
 *
 * In a forked child nothing leads, and every call but leasehold_is_leader and
 * leasehold_token_is_valid, which are false there, is LEASEHOLD_E_FORKED: fork before the first
 * call, or exec. Once loaded, the shared library stays: dlclose is allowed, and unloads nothing. A
 * plug-in that has the static library in it has to stay as well (link it with -z nodelete). No
 * function touches signal handlers; the library's threads block all signals. When memory runs out
 * the process is aborted. A call needs 64 KiB of stack, and 512 KiB to read JSON that is nested as
 * deeply as it may be.
 *
 * How a term ends. leasehold_step_down, leasehold_transfer, leasehold_set_healthy with false, and
 * leasehold_stop give it back. From then on leasehold_is_leader is false, and the lease is held
 * until the work has stopped: until on_lose_leadership has returned, where there is one, and until
 * leasehold_drained was called with the term's epoch, where somebody has ever asked for events, who
 * finds LEASEHOLD_RESIGNING among them. Then the lease is released, another node takes over, and
 * LEASEHOLD_LOST_LEADERSHIP is queued. When the work has not stopped within the drain timeout
 * (default 10 s), that is queued without a release, with LEASEHOLD_DRAIN_TIMED_OUT, and others wait
 * for the TTL. leasehold_stop waits for callbacks only: whoever calls it has stopped the work. All
 * that happened can be taken after it, until leasehold_free, which stops first what was not. A term
 * that is not given back, but lost, has LEASEHOLD_LOST_LEADERSHIP only.
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
