//! Things that have a small number for a name, so that a packet can carry it.

use std::marker::PhantomData;
use std::ops::{Index, IndexMut};

/// The number of a thing in its arena.
pub(crate) trait Id: Copy {
    /// From a position.
    fn from_position(position: u32) -> Self;
    /// The position.
    fn position(self) -> u32;
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) struct $name(u32);

        impl Id for $name {
            fn from_position(position: u32) -> Self {
                Self(position)
            }
            fn position(self) -> u32 {
                self.0
            }
        }
    };
}

id!(
    /// A network namespace.
    NsId
);
id!(
    /// A network device.
    DevId
);
id!(
    /// A node.
    NodeId
);
id!(
    /// A docker-proxy.
    ProxyId
);
id!(
    /// A resolver on 127.0.0.11.
    ResolverId
);

/// Things by number. Nothing is ever taken out, and an id is only made by [`Arena::push`], so that looking up cannot fail.
#[derive(Debug, Clone)]
pub(crate) struct Arena<I, T> {
    items: Vec<T>,
    id: PhantomData<I>,
}

impl<I: Id, T> Arena<I, T> {
    /// Nothing yet.
    pub(crate) const fn new() -> Self {
        Self { items: Vec::new(), id: PhantomData }
    }

    /// The id of what comes next.
    pub(crate) fn next_id(&self) -> I {
        I::from_position(u32::try_from(self.items.len()).unwrap_or(u32::MAX))
    }

    /// Takes one more in.
    pub(crate) fn push(&mut self, item: T) -> I {
        let id = self.next_id();
        self.items.push(item);
        id
    }

    /// Everything, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (I, &T)> {
        (0..).map(I::from_position).zip(&self.items)
    }

    /// Everything, oldest first, to be changed.
    #[cfg(test)]
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.items.iter_mut()
    }

    /// The first for which `is` holds.
    pub(crate) fn find(&self, is: impl Fn(&T) -> bool) -> Option<I> {
        self.iter().find(|(_, item)| is(item)).map(|(id, _)| id)
    }
}

impl<I: Id, T> Index<I> for Arena<I, T> {
    type Output = T;

    fn index(&self, id: I) -> &T {
        &self.items[id.position() as usize]
    }
}

impl<I: Id, T> IndexMut<I> for Arena<I, T> {
    fn index_mut(&mut self, id: I) -> &mut T {
        &mut self.items[id.position() as usize]
    }
}
