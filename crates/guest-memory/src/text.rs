//! A string copied out of guest memory.

use crate::{Error, GuestMemory};

/// A string copied out of guest memory. Short strings need no allocation.
pub struct GuestText {
    len: usize,
    inline: [u8; GuestText::INLINE],
    heap: Vec<u8>,
}

impl GuestText {
    const INLINE: usize = 128;

    #[inline]
    pub fn empty() -> GuestText {
        GuestText { len: 0, inline: [0; GuestText::INLINE], heap: Vec::new() }
    }

    #[inline]
    pub fn bytes(&self) -> &[u8] {
        self.inline.get(..self.len).unwrap_or(&self.heap)
    }
}

impl GuestMemory<'_> {
    /// Copies a string out, so that it can be examined where the guest cannot change it.
    #[inline]
    pub fn read_text(&self, address: u32, len: u32, limit: usize, text: &mut GuestText) -> Result<(), Error> {
        let len = len as usize;
        self.reserve(address, len)?;
        if len > limit {
            return Err(Error::TooLong);
        }
        text.len = len;
        match text.inline.get_mut(..len) {
            Some(inline) => self.read_into(address, inline),
            None => {
                text.heap.try_reserve_exact(len).map_err(|_| Error::OutOfMemory)?;
                text.heap.resize(len, 0);
                self.read_into(address, &mut text.heap)
            }
        }
    }
}
