//! Sense data.

use luge_spec::scsi::{
    AdditionalSense, DescriptorSense, FieldPointerDescriptor, FixedSense, InformationDescriptor, SenseKey,
    field_pointer, response_code,
};
use zerocopy::IntoBytes;

/// The most bytes of sense data.
pub const SENSE_BYTES_MAX: usize =
    size_of::<DescriptorSense>() + size_of::<InformationDescriptor>() + size_of::<FieldPointerDescriptor>();

/// Bytes of sense data.
pub type SenseBytes = heapless::Vec<u8, SENSE_BYTES_MAX>;

/// Format of sense data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SenseFormat {
    /// Fixed: 18 bytes.
    Fixed,
    /// Descriptors, as many as there is something to tell.
    Descriptor,
}

/// Place of an invalid field. SPC-4, clause 4.5.2.4.2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FieldPointer {
    part: Part,
    byte: u16,
    bit: Option<u8>,
}

/// Part of a command that has the field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    Cdb,
    Parameters,
}

impl FieldPointer {
    /// A field of the CDB that begins in a byte.
    #[must_use]
    pub const fn cdb(byte: u16) -> Self {
        Self { part: Part::Cdb, byte, bit: None }
    }

    /// A field of the parameters, which are in data-out, that begins in a byte.
    #[must_use]
    pub const fn parameters(byte: u16) -> Self {
        Self { part: Part::Parameters, byte, bit: None }
    }

    /// Points at the field whose most significant bit is this one of the byte.
    #[must_use]
    pub const fn bit(self, bit: u8) -> Self {
        Self { bit: Some(bit), ..self }
    }

    const fn flags(self) -> u8 {
        let part = match self.part {
            Part::Cdb => field_pointer::IN_CDB,
            Part::Parameters => 0,
        };
        let bit = match self.bit {
            Some(bit) => field_pointer::BIT_VALID | bit & 7,
            None => 0,
        };
        field_pointer::VALID | part | bit
    }
}

/// Sense data: what has happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sense {
    /// Sense key.
    pub key: SenseKey,
    /// Additional sense code with its qualifier.
    pub code: AdditionalSense,
    /// Information: a block, or an offset; depends on the command.
    pub information: Option<u64>,
    /// Field that is invalid.
    pub field: Option<FieldPointer>,
}

impl Sense {
    /// Sense data without information.
    #[must_use]
    pub const fn new(key: SenseKey, code: AdditionalSense) -> Self {
        Self { key, code, information: None, field: None }
    }

    /// ILLEGAL REQUEST.
    #[must_use]
    pub const fn illegal_request(code: AdditionalSense) -> Self {
        Self::new(SenseKey::ILLEGAL_REQUEST, code)
    }

    /// ILLEGAL REQUEST, INVALID COMMAND OPERATION CODE.
    #[must_use]
    pub const fn invalid_opcode() -> Self {
        Self::illegal_request(AdditionalSense::INVALID_OPERATION_CODE)
    }

    /// ILLEGAL REQUEST, INVALID FIELD IN CDB: the field that begins in `byte`.
    #[must_use]
    pub const fn invalid_field_in_cdb(byte: u16) -> Self {
        Self::illegal_request(AdditionalSense::INVALID_FIELD_IN_CDB).at(FieldPointer::cdb(byte))
    }

    /// ILLEGAL REQUEST, INVALID FIELD IN CDB: the field whose most significant bit is `bit` of `byte`.
    #[must_use]
    pub const fn invalid_bit_in_cdb(byte: u16, bit: u8) -> Self {
        Self::illegal_request(AdditionalSense::INVALID_FIELD_IN_CDB).at(FieldPointer::cdb(byte).bit(bit))
    }

    /// ILLEGAL REQUEST, INVALID FIELD IN PARAMETER LIST: the field that begins in `byte`.
    #[must_use]
    pub const fn invalid_field_in_parameters(byte: u16) -> Self {
        let field = FieldPointer::parameters(byte);
        Self::illegal_request(AdditionalSense::INVALID_FIELD_IN_PARAMETER_LIST).at(field)
    }

    /// ILLEGAL REQUEST, INVALID FIELD IN PARAMETER LIST: the field whose most significant bit is `bit` of `byte`.
    #[must_use]
    pub const fn invalid_bit_in_parameters(byte: u16, bit: u8) -> Self {
        let field = FieldPointer::parameters(byte).bit(bit);
        Self::illegal_request(AdditionalSense::INVALID_FIELD_IN_PARAMETER_LIST).at(field)
    }

    /// ILLEGAL REQUEST, LOGICAL BLOCK ADDRESS OUT OF RANGE; `lba` is the first block that is not there.
    #[must_use]
    pub const fn lba_out_of_range(lba: u64) -> Self {
        Self::illegal_request(AdditionalSense::LBA_OUT_OF_RANGE).with_information(lba)
    }

    /// Adds information.
    #[must_use]
    pub const fn with_information(self, information: u64) -> Self {
        Self { information: Some(information), ..self }
    }

    /// Adds the place of an invalid field.
    #[must_use]
    pub const fn at(self, field: FieldPointer) -> Self {
        Self { field: Some(field), ..self }
    }

    /// The bytes in a format.
    #[must_use]
    pub fn to_bytes(&self, format: SenseFormat) -> SenseBytes {
        match format {
            SenseFormat::Fixed => self.fixed(),
            SenseFormat::Descriptor => self.descriptors(),
        }
    }

    /// Information that does not fit in 32 bits is not there: VALID is zero then.
    fn fixed(&self) -> SenseBytes {
        let information = self.information.and_then(|information| u32::try_from(information).ok());
        let valid = if information.is_some() { response_code::VALID } else { 0 };
        let sense = FixedSense {
            response_code: response_code::FIXED | valid,
            key: self.key.0,
            information: information.unwrap_or(0).into(),
            additional_length: 10,
            additional_sense: self.code.0.into(),
            pointer_flags: self.field.map_or(0, FieldPointer::flags),
            pointer: self.field.map_or(0, |field| field.byte).into(),
            ..FixedSense::default()
        };
        collect(&[sense.as_bytes()])
    }

    fn descriptors(&self) -> SenseBytes {
        let information = self.information.map(|information| InformationDescriptor {
            kind: InformationDescriptor::KIND,
            additional_length: 10,
            flags: response_code::VALID,
            reserved: 0,
            information: information.into(),
        });
        let field = self.field.map(|field| FieldPointerDescriptor {
            kind: FieldPointerDescriptor::KIND,
            additional_length: 6,
            pointer_flags: field.flags(),
            pointer: field.byte.into(),
            ..FieldPointerDescriptor::default()
        });
        let information = information.as_ref().map_or(&[][..], IntoBytes::as_bytes);
        let field = field.as_ref().map_or(&[][..], IntoBytes::as_bytes);
        let length = information.len().saturating_add(field.len());
        let header = DescriptorSense {
            response_code: response_code::DESCRIPTOR,
            key: self.key.0,
            additional_sense: self.code.0.into(),
            additional_length: u8::try_from(length).unwrap_or(0),
            ..DescriptorSense::default()
        };
        collect(&[header.as_bytes(), information, field])
    }
}

/// Joins parts, which fit.
fn collect(parts: &[&[u8]]) -> SenseBytes {
    let mut bytes = SenseBytes::new();
    for part in parts {
        // The longest sense data has room.
        let _ = bytes.extend_from_slice(part);
    }
    bytes
}
