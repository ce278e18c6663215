//! Mode pages of a unit, and the bits of them that can be changed. SPC-4, clause 7.5; SBC-3, clause 6.5.

use crate::sense::SenseFormat;
use crate::unit::Settings;
use luge_block::Geometry;
use luge_spec::scsi::{CachingPage, ControlPage, ErrorRecoveryPage, ExceptionsPage, ModePage, mode_bits};
use zerocopy::IntoBytes;

/// Codes of all pages, in the order in which they are reported. None has subpages.
pub(super) const PAGES: [ModePage; 4] =
    [ModePage::ERROR_RECOVERY, ModePage::CACHING, ModePage::CONTROL, ModePage::EXCEPTIONS];

/// Bytes of the page that come before its parameters: the code and the length.
pub(super) const HEADER_BYTES: usize = 2;

/// Number of bytes that follow the length of a page.
const fn rest<T>() -> u8 {
    match size_of::<T>() {
        20 => 18,
        _ => 10,
    }
}

/// A page with the values of settings; none where there is no such page.
pub(super) fn page(page: ModePage, settings: Settings) -> Option<Vec<u8>> {
    match page {
        ModePage::ERROR_RECOVERY => Some(error_recovery().as_bytes().to_vec()),
        ModePage::CACHING => Some(caching(settings.write_cache).as_bytes().to_vec()),
        ModePage::CONTROL => Some(control(settings.sense_format).as_bytes().to_vec()),
        ModePage::EXCEPTIONS => Some(exceptions().as_bytes().to_vec()),
        _ => None,
    }
}

/// Ones for the bits of a page that can be changed.
pub(super) fn changeable(page: ModePage, geometry: &Geometry) -> Option<Vec<u8>> {
    let length = self::page(page, Settings::of(geometry))?.len();
    let mut mask = vec![0; length];
    let (flags, bits) = match page {
        ModePage::CACHING if geometry.volatile_cache => (2, mode_bits::WRITE_CACHE),
        ModePage::CONTROL => (2, mode_bits::DESCRIPTOR_SENSE),
        _ => (2, 0),
    };
    mask.get_mut(flags).into_iter().for_each(|byte| *byte = bits);
    let [code, rest, ..] = mask.as_mut_slice() else { return None };
    *code = page.0;
    *rest = u8::try_from(length.saturating_sub(HEADER_BYTES)).unwrap_or(0);
    Some(mask)
}

/// Settings with the values of a page, of which all bits are those of the unit but for ones that can be changed.
pub(super) fn set(settings: Settings, page: ModePage, bytes: &[u8]) -> Settings {
    let flags = bytes.get(2).copied().unwrap_or(0);
    match page {
        ModePage::CACHING => Settings { write_cache: flags & mode_bits::WRITE_CACHE != 0, ..settings },
        ModePage::CONTROL => Settings { sense_format: format(flags), ..settings },
        _ => settings,
    }
}

const fn format(flags: u8) -> SenseFormat {
    if flags & mode_bits::DESCRIPTOR_SENSE == 0 { SenseFormat::Fixed } else { SenseFormat::Descriptor }
}

/// SSDs reallocate blocks by themselves.
fn error_recovery() -> ErrorRecoveryPage {
    const AUTOMATIC_REALLOCATION: u8 = 3 << 6;
    ErrorRecoveryPage {
        page: ModePage::ERROR_RECOVERY.0,
        length: rest::<ErrorRecoveryPage>(),
        flags: AUTOMATIC_REALLOCATION,
        ..ErrorRecoveryPage::default()
    }
}

fn caching(write_cache: bool) -> CachingPage {
    CachingPage {
        page: ModePage::CACHING.0,
        length: rest::<CachingPage>(),
        flags: if write_cache { mode_bits::WRITE_CACHE } else { 0 },
        ..CachingPage::default()
    }
}

fn control(sense_format: SenseFormat) -> ControlPage {
    let format = match sense_format {
        SenseFormat::Fixed => 0,
        SenseFormat::Descriptor => mode_bits::DESCRIPTOR_SENSE,
    };
    ControlPage {
        page: ModePage::CONTROL.0,
        length: rest::<ControlPage>(),
        flags: mode_bits::TASK_SET_PER_NEXUS | format,
        queueing: mode_bits::REORDERED,
        ..ControlPage::default()
    }
}

/// Exceptions, of which there are none, are reported on request.
fn exceptions() -> ExceptionsPage {
    const ON_REQUEST: u8 = 6;
    ExceptionsPage {
        page: ModePage::EXCEPTIONS.0,
        length: rest::<ExceptionsPage>(),
        method: ON_REQUEST,
        ..ExceptionsPage::default()
    }
}
