//! The poll-mode NVMe driver: bring-up, queues, admin, recovery.
