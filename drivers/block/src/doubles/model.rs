//! Model of a device's content: for each block of a window the contents that it may have.

use std::ops::Range;

/// The contents that each block of a window of a device may have. More than one, where the
/// contract leaves it open: after a discard, or after a write that failed.
pub(super) struct Model {
    block_bytes: usize,
    blocks: Vec<Vec<Vec<u8>>>,
}

impl Model {
    /// A window that has this content.
    pub fn new(block_bytes: u32, content: &[u8]) -> Self {
        let block_bytes = block_bytes as usize;
        Self { block_bytes, blocks: content.chunks(block_bytes).map(|block| vec![block.to_vec()]).collect() }
    }

    /// The blocks from `first` on have this content now.
    pub fn write(&mut self, first: usize, content: &[u8]) {
        for (block, bytes) in self.blocks[first..].iter_mut().zip(content.chunks(self.block_bytes)) {
            *block = vec![bytes.to_vec()];
        }
    }

    /// Each of the blocks from `first` on may have this content now, or still what it had.
    pub fn maybe_write(&mut self, first: usize, content: &[u8]) {
        for (block, bytes) in self.blocks[first..].iter_mut().zip(content.chunks(self.block_bytes)) {
            if !block.iter().any(|possible| possible == bytes) {
                block.push(bytes.to_vec());
            }
        }
    }

    /// Bytes that some blocks may have.
    pub fn guess(&self, blocks: Range<usize>) -> Vec<u8> {
        self.blocks[blocks].iter().filter_map(|possible| possible.last()).flatten().copied().collect()
    }

    /// Whether the blocks from `first` on can have no other content than this.
    pub fn is_surely(&self, first: usize, content: &[u8]) -> bool {
        let mut blocks = self.blocks[first..].iter().zip(content.chunks(self.block_bytes));
        blocks.all(|(block, bytes)| block.len() == 1 && block[0] == bytes)
    }

    /// The blocks from `first` on have been read, and were this. They stay so.
    ///
    /// # Errors
    /// The block, counted from `first`, that cannot have been this.
    pub fn read(&mut self, first: usize, content: &[u8]) -> Result<(), usize> {
        for (index, bytes) in content.chunks(self.block_bytes).enumerate() {
            let block = &mut self.blocks[first + index];
            if !block.iter().any(|possible| possible == bytes) {
                return Err(index);
            }
            *block = vec![bytes.to_vec()];
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_one_of_what_it_may_be_and_stays_what_it_was_read_as() {
        let mut model = Model::new(2, &[1, 1, 2, 2, 3, 3]);
        model.maybe_write(1, &[0, 0]);
        assert_eq!(model.read(0, &[1, 1, 2, 2]), Ok(()));
        assert_eq!(model.read(0, &[1, 1, 0, 0]), Err(1));
        model.maybe_write(1, &[0, 0, 0, 0]);
        assert_eq!(model.read(1, &[0, 0, 3, 3]), Ok(()));
        model.write(2, &[4, 4]);
        assert_eq!(model.read(1, &[0, 0, 4, 4]), Ok(()));
        assert_eq!(model.read(2, &[3, 3]), Err(0));
    }
}
