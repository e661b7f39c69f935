use super::*;
use crate::fence::Gate;
use crate::lease::{Epoch, SessionId};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::mpsc::channel;
use tempfile::TempDir;

const SHORT: Duration = Duration::from_millis(30);

fn token(epoch: u64, session: u128) -> Token {
    Token::new(Epoch::new(epoch).unwrap(), SessionId::from_bits(session))
}

/// A gate in a folder of its own.
fn gate() -> (TempDir, FileGate) {
    let folder = tempfile::tempdir().unwrap();
    let gate = FileGate::new(folder.path().join("gate")).unwrap();
    (folder, gate)
}

/// A gate whose file has these bytes.
fn gate_of(bytes: &[u8]) -> (TempDir, FileGate) {
    let (folder, gate) = gate();
    fs::write(&gate.path, bytes).unwrap();
    (folder, gate)
}

fn highest_refusal(error: &FileGateError) -> Token {
    let FileGateError::Fenced { fenced, .. } = error else { panic!("{error}") };
    fenced.highest()
}

#[test]
fn it_decides_as_a_gate_in_memory_does() {
    let (_folder, of_file) = gate();
    let in_memory = Gate::new();
    for (epoch, session) in [(3, 1), (3, 1), (2, 1), (3, 2), (5, 2), (4, 9), (5, 2), (5, 1), (6, 1)]
    {
        let token = token(epoch, session);
        let decided = of_file.admit(token).map_err(|error| match error {
            FileGateError::Fenced { fenced, .. } => fenced,
            error => panic!("{error}"),
        });
        assert_eq!(decided, in_memory.admit(token));
        assert_eq!(of_file.highest().unwrap(), in_memory.highest());
    }
}

#[test]
fn a_gate_that_was_opened_before_reads_the_token_again() {
    let (_folder, first) = gate();
    let second = FileGate::new(&first.path).unwrap();
    first.admit(token(6, 1)).unwrap();
    second.admit(token(7, 2)).unwrap();
    let error = first.admit(token(6, 1)).unwrap_err();
    assert_eq!(highest_refusal(&error), token(7, 2));
    assert!(error.to_string().contains("/gate: fenced: epoch 6 of session 0"), "{error}");
}

#[test]
fn the_file_is_a_line_of_fixed_length_that_only_its_user_may_read() {
    let (folder, gate) = gate();
    for token in [token(7, 0xab), token(Epoch::MAX, u128::MAX)] {
        gate.admit(token).unwrap();
        assert_eq!(fs::metadata(&gate.path).unwrap().len(), LINE as u64);
        assert_eq!(gate.highest().unwrap(), Some(token));
    }
    gate.reset().unwrap();
    gate.admit(token(7, 0xab)).unwrap();
    let line = "0000000000000000007 000000000000000000000000000000ab\n";
    assert_eq!(fs::read_to_string(&gate.path).unwrap(), line);
    assert_eq!(fs::metadata(&gate.path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "a temporary file is left");
}

#[test]
fn a_line_written_by_hand_is_read() {
    for end in ["\n", ""] {
        let (_folder, gate) = gate_of(format!("41 {:032}{end}", 0).as_bytes());
        assert_eq!(gate.highest().unwrap(), Some(token(41, 0)));
        gate.admit(token(42, 1)).unwrap();
        assert_eq!(gate.highest().unwrap(), Some(token(42, 1)));
    }
}

/// An empty file is no empty gate: it never came from a gate.
#[test]
fn a_damaged_file_is_an_error_and_stays_as_it_is() {
    let line = "0000000000000000007 000000000000000000000000000000ab\n";
    let longer = format!("{line}\n");
    let two = line.repeat(2);
    let half = &line[..30];
    let zeros = "\0".repeat(LINE);
    for text in ["", "\n", "garbage", half, &longer, &two, &zeros, &line.replace('7', "0")] {
        let (_folder, gate) = gate_of(text.as_bytes());
        for error in [gate.admit(token(8, 1)).unwrap_err(), gate.highest().unwrap_err()] {
            assert!(matches!(error, FileGateError::NotAToken { .. }), "{text:?}: {error}");
            assert!(error.to_string().contains("/gate: not a fencing token"), "{error}");
        }
        assert_eq!(fs::read_to_string(&gate.path).unwrap(), text);
    }
    let (_folder, gate) = gate_of(b"7 \xff");
    assert!(matches!(gate.admit(token(8, 1)), Err(FileGateError::NotAToken { .. })));
}

#[test]
fn what_is_no_regular_file_is_refused() {
    let (folder, gate) = gate();
    let target = folder.path().join("target");
    FileGate::new(&target).unwrap().admit(token(1, 1)).unwrap();
    let make: [&dyn Fn(&Path); 4] = [
        &|path| symlink(&target, path).unwrap(),
        &|path| symlink("nowhere", path).unwrap(),
        &|path| fs::create_dir(path).unwrap(),
        &|path| make_fifo(path),
    ];
    for make in make {
        make(&gate.path);
        for error in [
            gate.admit(token(2, 1)).unwrap_err(),
            gate.highest().unwrap_err(),
            gate.reset().unwrap_err(),
        ] {
            assert!(matches!(error, FileGateError::NotAFile(_)), "{error}");
            assert!(error.to_string().ends_with("/gate: not a regular file"), "{error}");
        }
        fs::remove_file(&gate.path).or_else(|_| fs::remove_dir(&gate.path)).unwrap();
    }
}

fn make_fifo(path: &Path) {
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, path, kind, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

/// An operator who names a wrong folder must not take it for an empty gate.
#[test]
fn a_folder_that_is_missing_is_an_error_with_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let gate = FileGate::new(folder.path().join("missing/gate")).unwrap();
    let results = [gate.highest().map(drop), gate.reset().map(drop), gate.admit(token(1, 1))];
    for error in results.map(Result::unwrap_err) {
        assert!(matches!(error, FileGateError::Io { .. }), "{error}");
        assert!(error.to_string().contains("/missing/gate: "), "{error}");
    }
    assert!(matches!(FileGate::new(""), Err(FileGateError::Io { .. })));
    assert!(FileGate::new("gate").unwrap().path.is_absolute());
}

#[test]
fn an_empty_gate_is_read_without_making_a_file() {
    let (folder, gate) = gate();
    assert_eq!(gate.highest().unwrap(), None);
    assert_eq!(gate.reset().unwrap(), None);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_reset_removes_the_file_even_a_damaged_one() {
    let (folder, gate) = gate();
    gate.admit(token(7, 1)).unwrap();
    assert_eq!(gate.reset().unwrap(), Some(token(7, 1)));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    gate.admit(token(1, 3)).unwrap();
    fs::write(&gate.path, "garbage").unwrap();
    assert_eq!(gate.reset().unwrap(), None);
    gate.admit(token(1, 4)).unwrap();
}

#[test]
fn the_token_is_stored_before_the_act_even_of_one_that_fails_or_panics() {
    let (_folder, gate) = gate();
    let stored = || parse(&fs::read(&gate.path).unwrap());
    let seen = gate.admit_with(token(3, 1), || Err::<(), _>(stored())).unwrap();
    assert_eq!(seen, Err(Ok(token(3, 1))));
    let panic = AssertUnwindSafe(|| gate.admit_with(token(4, 1), || panic!("in act")));
    catch_unwind(panic).unwrap_err();
    assert_eq!(gate.highest().unwrap(), Some(token(4, 1)));
}

#[test]
fn the_act_of_a_fenced_token_does_not_run() {
    let (_folder, gate) = gate();
    gate.admit(token(7, 1)).unwrap();
    let error = gate.admit_with(token(6, 1), || panic!("ran behind a gate that refused"));
    assert_eq!(highest_refusal(&error.unwrap_err()), token(7, 1));
}

#[test]
fn a_gate_in_use_is_busy_after_the_lock_timeout() {
    let (_folder, gate) = gate();
    for timeout in [Duration::ZERO, SHORT] {
        let inner = gate.clone().lock_timeout(timeout);
        let errors = gate.admit_with(token(7, 1), || {
            let start = Instant::now();
            let admitted = inner.admit(token(8, 1)).unwrap_err();
            assert!(start.elapsed() >= timeout);
            [admitted, inner.highest().unwrap_err(), inner.reset().unwrap_err()]
        });
        for error in errors.unwrap() {
            let FileGateError::Busy { waited, .. } = &error else { panic!("{error}") };
            assert_eq!(*waited, timeout);
        }
    }
    assert_eq!(gate.lock_timeout(Duration::MAX).highest().unwrap(), Some(token(7, 1)));
}

/// A lock of a file that the path does not name any more keeps nobody out.
#[test]
fn a_file_that_was_replaced_before_it_was_locked_is_not_used() {
    let (folder, gate) = gate();
    let exclusive = FlockOperation::NonBlockingLockExclusive;
    gate.admit(token(1, 1)).unwrap();
    let old = File::open(&gate.path).unwrap();
    let other = FileGate::new(folder.path().join("other")).unwrap();
    other.admit(token(9, 1)).unwrap();
    fs::rename(&other.path, &gate.path).unwrap();
    let attempt = lock_if_current(old.try_clone().unwrap(), exclusive, &gate.path).unwrap();
    assert!(matches!(attempt, Attempt::Busy), "replaced");
    fs::remove_file(&gate.path).unwrap();
    let attempt = lock_if_current(old, exclusive, &gate.path).unwrap();
    assert!(matches!(attempt, Attempt::Busy), "removed");
}

#[test]
fn who_waits_while_the_file_is_replaced_reads_the_new_one() {
    let (folder, gate) = gate();
    let other = FileGate::new(folder.path().join("other")).unwrap();
    other.admit(token(9, 1)).unwrap();
    thread::scope(|scope| {
        let (inside, wait) = channel();
        let (finish, finished) = channel::<()>();
        let holder = &gate;
        scope.spawn(move || {
            let act = || {
                inside.send(()).unwrap();
                let _ = finished.recv();
            };
            holder.admit_with(token(7, 1), act).unwrap();
        });
        wait.recv().unwrap();
        let waiting = scope.spawn(|| gate.admit(token(8, 1)));
        fs::rename(&other.path, &gate.path).unwrap();
        drop(finish);
        let error = waiting.join().unwrap().unwrap_err();
        assert_eq!(highest_refusal(&error), token(9, 1));
    });
}

#[test]
fn many_threads_create_and_pass_a_gate_in_fenced_order() {
    let (folder, gate) = gate();
    let gate = gate.lock_timeout(Duration::from_secs(120));
    let written = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for session in 0..4 {
            let (gate, written) = (&gate, &written);
            scope.spawn(move || {
                for epoch in 1..=20 {
                    let token = token(epoch, session);
                    match gate.admit_with(token, || written.lock().unwrap().push(token)) {
                        Ok(()) | Err(FileGateError::Fenced { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
    });
    let written = written.into_inner().unwrap();
    assert!(written.len() >= 20, "{written:?}");
    for pair in written.windows(2) {
        assert!(pair[1].epoch() > pair[0].epoch() || pair[1] == pair[0], "{pair:?}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "a temporary file is left");
}

/// The rest of a longer line would stay behind the next token, which nobody could read then.
#[test]
fn a_line_that_is_longer_than_a_token_is_refused_and_stays_as_it_is() {
    let line = format!("{:020} {:032x}\n", 7, 1);
    let (_folder, gate) = gate_of(line.as_bytes());
    for error in [gate.highest().unwrap_err(), gate.admit(token(8, 1)).unwrap_err()] {
        assert!(matches!(error, FileGateError::NotAToken { .. }), "{error}");
    }
    assert_eq!(fs::read_to_string(&gate.path).unwrap(), line);
}
