//! Admin commands of the scripted SSD.

use super::memory::Reach;
use super::queues::{Answer, Completed, Submissions};
use super::script::{Listing, ScriptedNamespace};
use super::ssd::State;
use luge_spec::nvme::{
    AdminOpcode, Cns, FeatureId, IdentifyController, IdentifyNamespace, IdentifyNvmController, LogPage,
    SmartLog, StatusCode, SubmissionEntry, Version,
};
use std::time::Instant;
use zerocopy::{FromZeros, IntoBytes};

impl State {
    /// Executes an admin command; none where its completion comes later.
    pub(super) fn execute_admin(&mut self, reach: &Reach, entry: &SubmissionEntry) -> Option<Answer> {
        let [cdw10, cdw11, ..] = entry.cdw10;
        let code = match AdminOpcode(entry.opcode) {
            AdminOpcode::IDENTIFY => self.identify(reach, entry),
            AdminOpcode::GET_LOG_PAGE => self.log_page(reach, entry),
            AdminOpcode::SET_FEATURES => return Some(self.set_feature(cdw10, cdw11)),
            AdminOpcode::CREATE_COMPLETION_QUEUE => self.create_completions(reach, entry),
            AdminOpcode::CREATE_SUBMISSION_QUEUE => self.create_submissions(reach, entry),
            AdminOpcode::DELETE_SUBMISSION_QUEUE => delete(&mut self.submissions, cdw10),
            AdminOpcode::DELETE_COMPLETION_QUEUE => {
                let in_use = self.submissions.values().any(|queue| u32::from(queue.completions) == cdw10);
                assert!(!in_use, "submission queues go first");
                delete(&mut self.completions, cdw10)
            }
            AdminOpcode::ASYNC_EVENT_REQUEST => {
                if self.event_requests.len() > usize::from(self.script.event_limit_z) {
                    return Some(StatusCode::EVENT_LIMIT_EXCEEDED.into());
                }
                self.event_requests.push(entry.command_id);
                return None;
            }
            _ => StatusCode::INVALID_OPCODE,
        };
        Some(code.into())
    }

    fn identify(&mut self, reach: &Reach, entry: &SubmissionEntry) -> StatusCode {
        let cns = Cns((entry.cdw10[0] & 0xff) as u8);
        self.before_identify(cns);
        std::thread::sleep(self.script.identify_takes);
        if let Some(fill) = self.script.identify_fill {
            return answer(reach, entry, &[fill; 4096]);
        }
        match cns {
            Cns::CONTROLLER => answer(reach, entry, self.controller_page().as_bytes()),
            Cns::NAMESPACE => {
                let found = self.namespace(entry);
                match found.map(|namespace| namespace.identify) {
                    Some(status) if status != StatusCode::SUCCESS => status,
                    _ => {
                        let page = found.map_or_else(IdentifyNamespace::new_zeroed, namespace_page);
                        answer(reach, entry, page.as_bytes())
                    }
                }
            }
            Cns::ACTIVE_NAMESPACES => self.list(reach, entry),
            Cns::NAMESPACE_DESCRIPTORS => {
                let descriptor = self.namespace(entry).map_or(0, |namespace| namespace.command_set);
                let eui64 = [1, 8, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
                answer(reach, entry, &[&eui64[..], &[4, 1, 0, 0, descriptor], &[0; 4079]].concat())
            }
            Cns::COMMAND_SET_CONTROLLER if self.script.version >= Version::V2_0 => {
                let mut page = IdentifyNvmController::new_zeroed();
                page.write_zeroes_max = self.script.write_zeroes_max;
                answer(reach, entry, page.as_bytes())
            }
            Cns::COMMAND_SET_COMBINATIONS if !self.script.combinations.is_empty() => {
                assert_eq!(entry.cdw10[0] >> 16, 0xffff, "it is asked for this controller's");
                let mut list = [0u64; 512];
                list.iter_mut().zip(&self.script.combinations).for_each(|(to, &sets)| *to = sets);
                answer(reach, entry, list.as_bytes())
            }
            _ => StatusCode::INVALID_FIELD,
        }
    }

    fn namespace(&self, entry: &SubmissionEntry) -> Option<&ScriptedNamespace> {
        self.script.namespaces.iter().find(|namespace| namespace.id == entry.namespace)
    }

    fn list(&self, reach: &Reach, entry: &SubmissionEntry) -> StatusCode {
        let ids: Vec<u32> = match &self.script.listing {
            Listing::Refused(status) => return *status,
            Listing::Ids(ids) => ids.clone(),
            Listing::Endless => (entry.namespace + 1..).take(1024).collect(),
            Listing::True => {
                let ids = self.script.namespaces.iter().map(|namespace| namespace.id);
                ids.filter(|&id| id > entry.namespace).collect()
            }
        };
        let mut list = [0u32; 1024];
        list.iter_mut().zip(ids).for_each(|(to, id)| *to = id);
        answer(reach, entry, list.as_bytes())
    }

    fn controller_page(&self) -> IdentifyController {
        let mut page = IdentifyController::new_zeroed();
        page.vendor = 0x1b36;
        page.serial = padded(self.script.serial);
        page.model = padded("Scripted SSD");
        page.firmware = padded("1.0");
        page.transfer_max = self.script.transfer_max;
        page.event_limit_z = self.script.event_limit_z;
        page.atomic_normal_z = self.script.atomic_z;
        page.atomic_power_fail_z = self.script.atomic_z;
        page.submission_entry_size = 0x66;
        page.completion_entry_size = 0x44;
        let last = self.script.namespaces.iter().map(|namespace| namespace.id).max().unwrap_or(0);
        page.namespaces_max = self.script.namespaces_max.unwrap_or(last);
        page.oncs = self.script.oncs;
        page.volatile_write_cache = self.script.volatile_cache;
        page.async_events = 0x300;
        page
    }

    fn log_page(&mut self, reach: &Reach, entry: &SubmissionEntry) -> StatusCode {
        let page = (entry.cdw10[0] & 0xff) as u8;
        let bytes = (entry.cdw10[0] >> 16) as usize * 4 + 4;
        self.masked.retain(|&masked| masked != page);
        let mut smart = SmartLog::new_zeroed();
        smart.composite_temperature = 300u16.to_le_bytes();
        smart.power_cycles = 7;
        smart.data_units_written = 1 << 70;
        match LogPage(page) {
            LogPage::HEALTH => answer(reach, entry, &smart.as_bytes()[..bytes.min(512)]),
            LogPage::ERRORS | LogPage::CHANGED_NAMESPACES => answer(reach, entry, &vec![0; bytes]),
            _ => StatusCode::INVALID_LOG_PAGE,
        }
    }

    fn set_feature(&mut self, feature: u32, value: u32) -> Answer {
        match FeatureId((feature & 0xff) as u8) {
            FeatureId::NUMBER_OF_QUEUES => {
                assert_eq!(self.submissions.len(), 1, "the number of queues is set before there are any");
                if let Some(granted) = self.script.granted {
                    return Answer::success((u32::from(granted) - 1) * 0x1_0001);
                }
                let z = u32::from(self.script.queue_pairs) - 1;
                Answer::success((value & 0xffff).min(z) | (value >> 16).min(z) << 16)
            }
            FeatureId::ASYNC_EVENT_CONFIGURATION => StatusCode::SUCCESS.into(),
            FeatureId::COMMAND_SET_PROFILE if (value as usize) < self.script.combinations.len() => {
                self.profile = Some(value);
                Answer::success(value)
            }
            _ => StatusCode::INVALID_FIELD.into(),
        }
    }

    fn create_completions(&mut self, reach: &Reach, entry: &SubmissionEntry) -> StatusCode {
        let Ok((id, entries)) = self.checked_queue(entry) else { return StatusCode::INVALID_QUEUE_ID };
        if self.completions.contains_key(&id) || !self.script.queues_work {
            return StatusCode::INVALID_QUEUE_ID;
        }
        let queue = Completed::new(reach, entry.prp1, entries);
        queue.map_or(StatusCode::DATA_TRANSFER_ERROR, |queue| {
            self.clear_doorbell(id, 1);
            self.completions.insert(id, queue);
            StatusCode::SUCCESS
        })
    }

    fn create_submissions(&mut self, reach: &Reach, entry: &SubmissionEntry) -> StatusCode {
        let Ok((id, entries)) = self.checked_queue(entry) else { return StatusCode::INVALID_QUEUE_ID };
        let completions = (entry.cdw10[1] >> 16) as u16;
        if self.submissions.contains_key(&id) || !self.completions.contains_key(&completions) {
            return StatusCode::INVALID_COMPLETION_QUEUE;
        }
        let queue = Submissions::new(reach, entry.prp1, entries, completions);
        queue.map_or(StatusCode::DATA_TRANSFER_ERROR, |queue| {
            self.clear_doorbell(id, 0);
            self.submissions.insert(id, queue);
            self.created_at.insert(id, Instant::now());
            StatusCode::SUCCESS
        })
    }

    fn checked_queue(&self, entry: &SubmissionEntry) -> Result<(u16, u16), ()> {
        let [cdw10, cdw11, ..] = entry.cdw10;
        let (id, entries_z) = ((cdw10 & 0xffff) as u16, (cdw10 >> 16) as u16);
        let good = (1..=self.script.queue_pairs).contains(&id)
            && entries_z <= self.script.queue_limit_z()
            && cdw11 & 1 == 1
            && entry.prp1.is_multiple_of(4096);
        good.then_some((id, entries_z + 1)).ok_or(())
    }
}

fn delete<T>(queues: &mut std::collections::BTreeMap<u16, T>, id: u32) -> StatusCode {
    let id = u16::try_from(id).ok().filter(|&id| id != 0);
    match id.and_then(|id| queues.remove(&id)) {
        Some(_) => StatusCode::SUCCESS,
        None => StatusCode::INVALID_QUEUE_ID,
    }
}

/// Writes a page of data to PRP1.
fn answer(reach: &Reach, entry: &SubmissionEntry, bytes: &[u8]) -> StatusCode {
    let len = u32::try_from(bytes.len()).expect("a page");
    match reach.span(entry.prp1, len) {
        Some(span) => {
            span.write(bytes);
            StatusCode::SUCCESS
        }
        None => StatusCode::DATA_TRANSFER_ERROR,
    }
}

fn namespace_page(namespace: &ScriptedNamespace) -> IdentifyNamespace {
    let mut page = IdentifyNamespace::new_zeroed();
    page.size_blocks = namespace.blocks;
    page.capacity_blocks = namespace.blocks;
    page.protection = namespace.protection;
    page.attributes = namespace.read_only.into();
    page.features = if namespace.atomic_z > 0 { 1 << 1 } else { 0 };
    page.atomic_normal_z = namespace.atomic_z;
    page.atomic_power_fail_z = namespace.atomic_z;
    page.formatted = 1;
    page.formats_z = 1;
    page.formats[1].block_shift = namespace.block_shift;
    page.formats[1].metadata_bytes = namespace.metadata_bytes;
    page.nguid = namespace.nguid;
    page
}

fn padded<const N: usize>(text: &str) -> [u8; N] {
    std::array::from_fn(|i| text.as_bytes().get(i).copied().unwrap_or(b' '))
}
