//! Things that a guest names by a number.
//!
//! For this room. Invariant: the number of a thing that was taken out never names another one (until its
//! place has been used 255 times), so a guest that keeps a stale number gets an error.

/// Bits of a number that tell the place. The others count how often the place was used.
const PLACE_BITS: u32 = 24;
const MOST: usize = 1 << PLACE_BITS;

pub struct Slab<T> {
    places: Vec<(u8, Option<T>)>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Slab<T> {
        Slab { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// The number of a new thing, never 0. The thing comes back if there is no room.
    pub fn insert(&mut self, thing: T) -> Result<u32, T> {
        let place = match self.free.pop() {
            Some(place) => place,
            None if self.places.len() == MOST => return Err(thing),
            None => {
                // A place in the other list, so that taking out allocates nothing.
                if self.places.try_reserve(1).is_err()
                    || self.free.try_reserve(self.places.len() + 1).is_err()
                {
                    return Err(thing);
                }
                self.places.push((0, None));
                (self.places.len() - 1) as u32
            }
        };
        let Some((uses, held)) = self.places.get_mut(place as usize) else { return Err(thing) };
        *uses = uses.checked_add(1).unwrap_or(1);
        *held = Some(thing);
        Ok(u32::from(*uses) << PLACE_BITS | place)
    }

    fn place(number: u32) -> (u8, usize) {
        ((number >> PLACE_BITS) as u8, number as usize % MOST)
    }

    pub fn get(&self, number: u32) -> Option<&T> {
        let (uses, place) = Slab::<T>::place(number);
        self.places.get(place).filter(|(now, _)| *now == uses)?.1.as_ref()
    }

    pub fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        let (uses, place) = Slab::<T>::place(number);
        self.places.get_mut(place).filter(|(now, _)| *now == uses)?.1.as_mut()
    }

    pub fn remove(&mut self, number: u32) -> Option<T> {
        let (uses, place) = Slab::<T>::place(number);
        let taken = self.places.get_mut(place).filter(|(now, _)| *now == uses)?.1.take()?;
        self.free.push(place as u32);
        Some(taken)
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.iter().filter_map(|(_, held)| held.as_ref())
    }

    /// The numbers of all things.
    pub fn numbers(&self) -> Vec<u32> {
        let places = self.places.iter().enumerate().filter(|(_, (_, held))| held.is_some());
        places.map(|(place, (uses, _))| u32::from(*uses) << PLACE_BITS | place as u32).collect()
    }

    /// Takes everything out.
    pub fn drain(&mut self) -> Vec<T> {
        self.free.clear();
        self.places.drain(..).filter_map(|(_, held)| held).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_number_names_nothing() {
        let mut slab = Slab::default();
        let first = slab.insert('a').unwrap();
        assert_eq!((slab.get(first), slab.get(0), slab.get(u32::MAX)), (Some(&'a'), None, None));
        assert_eq!(slab.remove(first), Some('a'));
        assert_eq!((slab.remove(first), slab.get(first)), (None, None));
        let second = slab.insert('b').unwrap();
        assert_ne!(first, second);
        assert_eq!((slab.get(first), slab.get(second)), (None, Some(&'b')));
    }
}
