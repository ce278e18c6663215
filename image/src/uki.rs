//! Unified kernel images: a UEFI program with kernel, command line and initramfs as its sections
//! (UAPI Group Specification UKI, section 5).
//!
//! The program is systemd's boot stub. Sections are appended to its PE file (Microsoft PE Format,
//! "Section Table"). There is no link step: a new initramfs costs a copy, and the result can be signed
//! as one file.
//!
//! Not here: signing.

use crate::error::ImageError;

/// Offset of the PE header's offset in the DOS header.
const PE_OFFSET: usize = 0x3c;
/// Bytes of the signature and the COFF header.
const COFF_SIZE: usize = 24;
/// Bytes of a row of the section table.
const ROW: usize = 40;
/// Magic number in the optional header of a 64-bit program.
const PE32_PLUS: u16 = 0x20b;

// Fields of the optional header, by offset.
const INITIALIZED_DATA: usize = 8;
const SECTION_ALIGNMENT: usize = 32;
const FILE_ALIGNMENT: usize = 36;
const IMAGE_SIZE: usize = 56;
const HEADERS_SIZE: usize = 60;

/// Flags of a section: initialised data, readable.
const DATA: u32 = 0x4000_0040;

/// A PE file to which sections are appended.
pub(crate) struct Uki {
    bytes: Vec<u8>,
    /// Offset of the COFF header, which follows the signature.
    coff: usize,
    /// Offset of the optional header.
    optional: usize,
    /// Offset of the section table.
    table: usize,
    sections: u16,
}

impl Uki {
    /// Starts from the boot stub.
    pub(crate) fn from_stub(stub: Vec<u8>) -> Result<Self, ImageError> {
        let pe = to_usize(read_u32(&stub, PE_OFFSET)?)?;
        if stub.get(pe..pe + 4) != Some(b"PE\0\0") {
            return Err(malformed("it has no PE header"));
        }
        let (coff, optional) = (pe + 4, pe + COFF_SIZE);
        if read_u16(&stub, optional)? != PE32_PLUS {
            return Err(malformed("it is not a 64-bit program"));
        }
        let table = optional + usize::from(read_u16(&stub, coff + 16)?);
        let sections = read_u16(&stub, coff + 2)?;
        Ok(Self { coff, optional, table, sections, bytes: stub })
    }

    /// Appends a section; `name` has at most eight characters.
    pub(crate) fn section(&mut self, name: &str, content: &[u8]) -> Result<(), ImageError> {
        let row = self.table + usize::from(self.sections) * ROW;
        if row + ROW > to_usize(self.field(HEADERS_SIZE)?)? {
            return Err(malformed("its headers have no room for another section"));
        }
        let (file_alignment, alignment) = (self.field(FILE_ALIGNMENT)?, self.field(SECTION_ALIGNMENT)?);
        let size = to_u32(content.len())?;
        let address = align(self.end_of_sections()?, alignment)?;
        let raw_size = align(size, file_alignment)?;
        let offset = align(to_u32(self.bytes.len())?, file_alignment)?;

        self.bytes.resize(to_usize(offset)?, 0);
        self.bytes.extend_from_slice(content);
        self.bytes.resize(to_usize(offset)? + to_usize(raw_size)?, 0);
        self.write_row(row, name, [size, address, raw_size, offset]);
        self.sections += 1;
        self.write(self.coff + 2, &self.sections.to_le_bytes());
        let data = self.field(INITIALIZED_DATA)?.saturating_add(raw_size);
        self.write(self.optional + INITIALIZED_DATA, &data.to_le_bytes());
        self.write(
            self.optional + IMAGE_SIZE,
            &align(address.saturating_add(size), alignment)?.to_le_bytes(),
        );
        Ok(())
    }

    /// Appends the sections of a Linux kernel.
    pub(crate) fn linux(
        &mut self,
        command_line: &str,
        kernel: &[u8],
        initramfs: &[u8],
    ) -> Result<(), ImageError> {
        self.section(".cmdline", command_line.as_bytes())?;
        self.section(".initrd", initramfs)?;
        self.section(".linux", kernel)
    }

    /// The whole file.
    pub(crate) fn finish(self) -> Vec<u8> {
        self.bytes
    }

    /// Writes a row of the section table; `numbers` are virtual size, virtual address, size and offset
    /// in the file.
    fn write_row(&mut self, row: usize, name: &str, numbers: [u32; 4]) {
        let mut bytes = [0; ROW];
        for (to, from) in bytes.iter_mut().zip(name.bytes().take(8)) {
            *to = from;
        }
        for (n, number) in numbers.iter().enumerate() {
            bytes[8 + 4 * n..12 + 4 * n].copy_from_slice(&number.to_le_bytes());
        }
        bytes[36..].copy_from_slice(&DATA.to_le_bytes());
        self.write(row, &bytes);
    }

    /// The first address behind all sections.
    fn end_of_sections(&self) -> Result<u32, ImageError> {
        let mut end = 0;
        for n in 0..usize::from(self.sections) {
            let row = self.table + n * ROW;
            let (size, address) = (read_u32(&self.bytes, row + 8)?, read_u32(&self.bytes, row + 12)?);
            end = end.max(address.saturating_add(size));
        }
        Ok(end)
    }

    fn field(&self, offset: usize) -> Result<u32, ImageError> {
        read_u32(&self.bytes, self.optional + offset)
    }

    /// Overwrites bytes that were read before, so they are there.
    fn write(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

fn malformed(problem: &str) -> ImageError {
    ImageError::Malformed { what: "the UEFI boot stub".to_owned(), problem: problem.to_owned() }
}

fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], ImageError> {
    let found = at.checked_add(N).and_then(|end| bytes.get(at..end)).and_then(|part| part.try_into().ok());
    found.ok_or_else(|| malformed("it is cut short"))
}

fn read_u16(bytes: &[u8], at: usize) -> Result<u16, ImageError> {
    bytes_at(bytes, at).map(u16::from_le_bytes)
}

fn read_u32(bytes: &[u8], at: usize) -> Result<u32, ImageError> {
    bytes_at(bytes, at).map(u32::from_le_bytes)
}

fn to_u32(number: usize) -> Result<u32, ImageError> {
    u32::try_from(number).map_err(|_| malformed("it would be larger than 4 GiB with its sections"))
}

fn to_usize(number: u32) -> Result<usize, ImageError> {
    usize::try_from(number).map_err(|_| malformed("an offset does not fit this machine"))
}

fn align(number: u32, alignment: u32) -> Result<u32, ImageError> {
    if alignment == 0 {
        return Err(malformed("its alignment is zero"));
    }
    number
        .checked_next_multiple_of(alignment)
        .ok_or_else(|| malformed("it would be larger than 4 GiB with its sections"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: usize = 0x40 + COFF_SIZE + 112;

    /// A PE file with one section at 0x1000 and room for two more.
    fn stub() -> Vec<u8> {
        let mut bytes = vec![0; 0x400];
        bytes[PE_OFFSET] = 0x40;
        bytes[0x40..0x44].copy_from_slice(b"PE\0\0");
        bytes[0x46] = 1;
        bytes[0x54] = 112;
        let optional = 0x40 + COFF_SIZE;
        bytes[optional..optional + 2].copy_from_slice(&PE32_PLUS.to_le_bytes());
        let headers = u32::try_from(TABLE + 3 * ROW).unwrap();
        let fields = [(SECTION_ALIGNMENT, 0x1000), (FILE_ALIGNMENT, 0x200), (HEADERS_SIZE, headers)];
        for (offset, value) in fields {
            bytes[optional + offset..optional + offset + 4].copy_from_slice(&u32::to_le_bytes(value));
        }
        for (n, value) in [0x1234_u32, 0x1000, 0x200, 0x200].iter().enumerate() {
            bytes[TABLE + 8 + 4 * n..TABLE + 12 + 4 * n].copy_from_slice(&value.to_le_bytes());
        }
        bytes
    }

    fn number(bytes: &[u8], at: usize) -> usize {
        to_usize(read_u32(bytes, at).unwrap()).unwrap()
    }

    /// Two numbers that follow each other.
    fn numbers(bytes: &[u8], at: usize) -> [usize; 2] {
        [number(bytes, at), number(bytes, at + 4)]
    }

    #[test]
    fn a_section_lies_behind_the_others_in_memory_and_in_the_file() {
        let mut uki = Uki::from_stub(stub()).unwrap();
        uki.section(".cmdline", b"console=ttyS0").unwrap();
        uki.section(".initrd", &[7; 0x1001]).unwrap();
        let bytes = uki.finish();
        let (first, second) = (TABLE + ROW, TABLE + 2 * ROW);
        assert_eq!(&bytes[first..first + 8], b".cmdline");
        assert_eq!(numbers(&bytes, first + 8), [13, 0x3000]);
        assert_eq!(&bytes[number(&bytes, first + 20)..][..13], b"console=ttyS0");
        assert_eq!(numbers(&bytes, second + 8), [0x1001, 0x4000]);
        assert_eq!(numbers(&bytes, second + 16), [0x1200, 0x600]);
        assert_eq!(bytes.len(), 0x600 + 0x1200);
        assert_eq!(bytes[0x46], 3, "three sections");
        assert_eq!(number(&bytes, 0x40 + COFF_SIZE + IMAGE_SIZE), 0x6000);
    }

    #[test]
    fn a_section_for_which_the_headers_have_no_room_is_refused() {
        let mut uki = Uki::from_stub(stub()).unwrap();
        uki.section(".a", b"a").unwrap();
        uki.section(".b", b"b").unwrap();
        let error = uki.section(".c", b"c").unwrap_err().to_string();
        assert!(error.contains("no room"), "{error}");
    }

    #[test]
    fn what_is_not_a_64_bit_program_is_refused_at_every_length() {
        let whole = stub();
        for length in 0..TABLE {
            let outcome =
                Uki::from_stub(whole[..length].to_vec()).and_then(|mut uki| uki.section(".a", b"a"));
            assert!(outcome.is_err(), "cut at {length}");
        }
        let mut other = stub();
        other[0x40 + COFF_SIZE] = 0;
        assert!(Uki::from_stub(other).is_err());
    }
}
