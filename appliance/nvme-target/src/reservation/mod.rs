//! Reservation commands of I/O queues, on the thread of the client's connection. Base 2.0, clauses 7.2 to 7.5 and 8.19.
//!
//! Path: I/O queue -> session -> relay -> **here** -> reservations of the volume -> cores -> completion.
//!
//! Invariants
//! - The thread waits neither for a core nor for an SSD: a command is completed when its change is over.
//! - The state is the volume's, not the controller's: other subsystems and other protocols share it.
//!
//! Not here: rules of reservations (`reservations`); what they allow (`volume`); features and logs of them (`admin`).

mod command;
mod report;
mod serve;
