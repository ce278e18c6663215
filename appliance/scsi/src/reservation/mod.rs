//! Reservations by SCSI commands.
