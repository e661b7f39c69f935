//! The SQL of the guide, as it stands there, by three clients at once.

use crate::database::{Client, Database, Parameters};
use crate::postgres::Postgres;
use crate::sqlite::Sqlite;

/// A block of SQL of the page on fencing: the table, the claim with a read, the write.
fn block(number: usize) -> &'static str {
    let blocks = include_str!("../../src/guide/fencing.md").split("```sql\n").skip(1);
    let blocks: Vec<_> = blocks.filter_map(|rest| Some(rest.split_once("```")?.0)).collect();
    assert_eq!(blocks.len(), 3, "the page has three blocks of SQL");
    blocks[number]
}

fn table() -> &'static str {
    block(0)
}

fn claim_and_read() -> &'static str {
    block(1)
}

fn write() -> &'static str {
    block(2)
}

/// The transaction of a write without its last statement.
fn unfinished_write() -> &'static str {
    let (begun, end) = write().split_once("COMMIT;").expect("a transaction");
    assert_eq!(end.trim(), "");
    begun
}

/// A database with an order and an empty gate, and three clients.
struct Scene {
    database: Database,
    /// Leads in epoch 6.
    old: Client,
    /// Leads in epoch 7.
    new: Client,
    observer: Client,
}

const OLD: Parameters = Parameters { epoch: 6, session: 0xa, state: "by the old leader" };
const NEW: Parameters = Parameters { epoch: 7, session: 0xb, state: "by the new leader" };
/// An observer writes nothing.
const NONE: Parameters = Parameters { epoch: 0, session: 0, state: "" };

impl Scene {
    fn new(database: Database) -> Self {
        let mut observer = database.client("observer", NONE);
        let orders = "CREATE TABLE orders (id BIGINT PRIMARY KEY, state TEXT NOT NULL);
                      INSERT INTO orders VALUES (1, 'open');";
        assert_eq!(observer.run(&format!("{}{orders}", table())), "");
        let (old, new) = (database.client("old", OLD), database.client("new", NEW));
        Self { database, old, new, observer }
    }

    /// The order's state and the gate's row, as committed.
    #[track_caller]
    fn shows(&mut self, state: &str, gate: Parameters) {
        let seen = self.observer.run("SELECT state FROM orders; SELECT epoch, session FROM gate;");
        assert_eq!(seen, format!("{state}\n{}|{:032x}", gate.epoch, gate.session));
    }
}

#[track_caller]
fn assert_fenced(printed: &str) {
    assert!(printed.contains("constraint") && printed.contains("fenced"), "{printed:?}");
}

fn a_deposed_leader_between_its_read_and_its_write_changes_nothing(database: Database) {
    let mut scene = Scene::new(database);
    assert_eq!(scene.old.run(claim_and_read()), "open");
    assert_eq!(scene.new.run(claim_and_read()), "open");
    assert_fenced(&scene.old.run(write()));
    scene.shows("open", NEW);
    assert_eq!(scene.new.run(write()), "");
    scene.shows(NEW.state, NEW);
    let mut restarted = scene.database.client("restarted", OLD);
    assert_fenced(&restarted.run(write()));
    scene.shows(NEW.state, NEW);
}

fn a_new_leader_reads_the_write_that_was_under_way(database: Database) {
    let mut scene = Scene::new(database);
    assert_eq!(scene.old.run(claim_and_read()), "open");
    assert_eq!(scene.old.run(unfinished_write()), "");
    scene.shows("open", OLD);
    scene.new.send(claim_and_read());
    scene.database.wait_until_blocked("new");
    assert_eq!(scene.old.run("COMMIT;"), "");
    assert_eq!(scene.new.printed(), OLD.state);
    assert_fenced(&scene.old.run(write()));
    assert_eq!(scene.new.run(write()), "");
    scene.shows(NEW.state, NEW);
}

fn the_first_leaders_of_an_empty_gate_come_in_order(database: Database) {
    let mut scene = Scene::new(database);
    assert_eq!(scene.new.run(unfinished_write()), "");
    scene.old.send(write());
    scene.database.wait_until_blocked("old");
    assert_eq!(scene.new.run("COMMIT;"), "");
    assert_fenced(&scene.old.printed());
    scene.shows(NEW.state, NEW);
}

fn an_epoch_belongs_to_its_first_session(database: Database) {
    let mut scene = Scene::new(database);
    assert_eq!(scene.new.run(write()), "");
    let twin = Parameters { session: NEW.session + 1, state: "by a twin", ..NEW };
    let mut twin = scene.database.client("twin", twin);
    assert_fenced(&twin.run(write()));
    assert_eq!(scene.new.run(write()), "");
    scene.shows(NEW.state, NEW);
}

/// Makes a test for each database of each of the bodies above.
macro_rules! on_both_databases {
    ($($name:ident,)*) => {
        mod sqlite {
            use super::*;

            $(#[test]
            fn $name() {
                super::$name(Database::Sqlite(Sqlite::new()));
            })*
        }

        mod postgres {
            use super::*;

            $(#[test]
            fn $name() {
                super::$name(Database::Postgres(Postgres::new("read\\ committed")));
            })*
        }
    };
}

on_both_databases! {
    a_deposed_leader_between_its_read_and_its_write_changes_nothing,
    a_new_leader_reads_the_write_that_was_under_way,
    the_first_leaders_of_an_empty_gate_come_in_order,
    an_epoch_belongs_to_its_first_session,
}

/// Stricter isolation refuses a claim where the default one waits. Repeated, it reads the same.
#[test]
fn a_claim_that_isolation_refuses_is_repeated() {
    for isolation in ["repeatable\\ read", "serializable"] {
        let mut scene = Scene::new(Database::Postgres(Postgres::new(isolation)));
        assert_eq!(scene.old.run(claim_and_read()), "open");
        assert_eq!(scene.old.run(unfinished_write()), "");
        scene.new.send("\\set VERBOSITY verbose");
        scene.new.printed();
        scene.new.send(claim_and_read());
        scene.database.wait_until_blocked("new");
        assert_eq!(scene.old.run("COMMIT;"), "");
        assert!(scene.new.printed().contains("ERROR:  40001"), "{isolation}");
        assert_eq!(scene.new.run(claim_and_read()), OLD.state);
        assert_eq!(scene.new.run(write()), "");
        assert_fenced(&scene.old.run(write()));
        scene.shows(NEW.state, NEW);
    }
}

/// The guide says the statement of the gate twice.
#[test]
fn the_claim_and_the_write_pass_the_gate_by_the_same_statement() {
    let (claim, _) = claim_and_read().split_once("\n\nSELECT").expect("a claim, then a read");
    assert!(write().contains(claim));
}
