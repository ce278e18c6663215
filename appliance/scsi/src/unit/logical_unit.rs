//! A logical unit: a volume as SCSI sees it.

use super::config::{Names, UnitConfig, UnitError};
use super::link::Link;
use super::settings::Settings;
use crate::attention::Attention;
use crate::gate::Closed;
use crate::ports::StateObserver;
use crate::sense::Sense;
use crate::view::UnitView;
use luge_block::Geometry;
use luge_reservations::{Change, Reservations, Waker};
use luge_volume::Volume;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// A volume as SCSI sees it: one for each volume and each scope of its reservations, whatever serves it.
pub struct LogicalUnit {
    volume: Arc<Volume>,
    reservations: Arc<Reservations>,
    names: Names,
    settings: Mutex<Settings>,
    links: Mutex<Links>,
}

/// Nexuses of a unit, whose gates follow its power condition.
#[derive(Default)]
struct Links {
    links: Vec<Weak<Link>>,
    /// Whether the unit is stopped. SBC-4, clause 4.20.5.
    is_stopped: bool,
}

impl Links {
    /// Nexuses at this moment.
    fn all(&self) -> impl Iterator<Item = Arc<Link>> {
        self.links.iter().filter_map(Weak::upgrade)
    }
}

impl LogicalUnit {
    /// A unit with default mode parameters, and without nexuses.
    ///
    /// # Errors
    /// [`UnitError`].
    pub fn new(config: UnitConfig) -> Result<Arc<Self>, UnitError> {
        let names = Names::new(&config)?;
        let settings = Mutex::new(Settings::of(&config.volume.geometry()));
        let UnitConfig { volume, reservations, .. } = config;
        Ok(Arc::new(Self { volume, reservations, names, settings, links: Mutex::default() }))
    }

    /// Volume of the unit.
    #[must_use]
    pub const fn volume(&self) -> &Arc<Volume> {
        &self.volume
    }

    /// Reservations that bind its initiators.
    #[must_use]
    pub const fn reservations(&self) -> &Arc<Reservations> {
        &self.reservations
    }

    /// Serial number.
    #[must_use]
    pub fn serial(&self) -> &str {
        &self.names.serial
    }

    /// Product name.
    #[must_use]
    pub fn product(&self) -> &str {
        std::str::from_utf8(&self.names.product).unwrap_or_default().trim_end()
    }

    /// NAA identifier.
    #[must_use]
    pub fn naa(&self) -> [u8; 8] {
        self.names.naa()
    }

    /// Size, limits and settings at this moment.
    #[must_use]
    pub fn view(&self) -> UnitView {
        self.settings().view(&self.geometry())
    }

    /// Takes note that the volume has another size: all initiators are to be told.
    pub fn resized(&self) {
        self.raise(Attention::CapacityChanged);
    }

    pub(crate) fn geometry(&self) -> Geometry {
        self.volume.geometry()
    }

    pub(crate) const fn names(&self) -> &Names {
        &self.names
    }

    pub(crate) fn settings(&self) -> Settings {
        *self.lock_settings()
    }

    /// Changes mode parameters, for an initiator; the others are to be told. The change is over when all cores serve
    /// the unit by its new view; there is nothing to be waited for where no parameter has another value.
    ///
    /// # Errors
    /// Those of `update`; nothing has changed then.
    pub(crate) fn change_settings(
        &self,
        by: &Arc<Link>,
        waker: Waker,
        update: impl FnOnce(Settings) -> Result<Settings, Sense>,
    ) -> Result<Option<Change>, Sense> {
        let mut settings = self.lock_settings();
        let new = update(*settings)?;
        if std::mem::replace(&mut *settings, new) == new {
            return Ok(None);
        }
        drop(settings);
        let (change, receipt) = Change::begin(waker);
        for link in self.links() {
            if !Arc::ptr_eq(&link, by) {
                link.attentions.raise(Attention::ModeParametersChanged);
            }
            link.listener.view_changed(receipt.another());
        }
        Ok(Some(change))
    }

    /// Stops the unit, for all initiators: it serves no commands that need the medium.
    pub(crate) fn stop(&self) {
        let mut links = self.lock_links();
        links.is_stopped = true;
        links.all().for_each(|link| link.attentions.gate().close(Closed::Stopped));
    }

    /// Starts the unit.
    pub(crate) fn start(&self) {
        let mut links = self.lock_links();
        links.is_stopped = false;
        links.all().for_each(|link| link.attentions.gate().open(Closed::Stopped));
    }

    /// Whether the unit is stopped.
    pub(crate) fn is_stopped(&self) -> bool {
        self.lock_links().is_stopped
    }

    /// Resets the unit for an initiator. It is started. Mode parameters have their default values again, because none are
    /// saved. SPC-4, clause 7.5.1.
    ///
    /// The change is over when all cores serve the unit by these, and the commands of all others have ended.
    pub(super) fn reset(&self, by: &Arc<Link>, waker: Waker) -> Change {
        let (change, receipt) = Change::begin(waker);
        self.start();
        let has_changed = self.restore_defaults();
        for link in self.links() {
            link.attentions.raise(Attention::LogicalUnitReset);
            if has_changed {
                link.listener.view_changed(receipt.another());
            }
            if !Arc::ptr_eq(&link, by) {
                link.end_commands(receipt.another());
            }
        }
        change
    }

    /// Gives mode parameters their default values where there is one nexus only.
    pub(super) fn restore_own_defaults(&self, own: &Arc<Link>) {
        let is_alone = self.links().iter().all(|link| Arc::ptr_eq(link, own));
        if is_alone && self.restore_defaults() {
            // Nobody waits for it.
            let (_, receipt) = Change::begin(Arc::new(|| {}));
            own.listener.view_changed(receipt);
        }
    }

    /// Gives mode parameters their default values; returns whether one had another value.
    fn restore_defaults(&self) -> bool {
        let defaults = Settings::of(&self.geometry());
        std::mem::replace(&mut *self.lock_settings(), defaults) != defaults
    }

    /// Adds a nexus.
    pub(super) fn add_link(&self, link: &Arc<Link>) {
        let Links { links, is_stopped } = &mut *self.lock_links();
        links.retain(|other| other.strong_count() > 0);
        links.push(Arc::downgrade(link));
        if *is_stopped {
            link.attentions.gate().close(Closed::Stopped);
        }
    }

    /// Nexuses at this moment.
    pub(crate) fn links(&self) -> Vec<Arc<Link>> {
        self.lock_links().all().collect()
    }

    /// Tells all initiators something.
    pub(crate) fn raise(&self, attention: Attention) {
        self.links().iter().for_each(|link| link.attentions.raise(attention));
    }

    fn lock_links(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StateObserver for LogicalUnit {
    fn state_changed(&self) {
        self.raise(Attention::AccessStateChanged);
        self.links().iter().for_each(|link| {
            link.access_state();
        });
    }
}
