// Browser storage that may be full or forbidden: then the pages forget, but go on.

const guarded = (area) => ({
  get(key) {
    try {
      return JSON.parse(area().getItem(`lemonair.${key}`));
    } catch {
      return null;
    }
  },
  set(key, value) {
    try {
      if (value === null) area().removeItem(`lemonair.${key}`);
      else area().setItem(`lemonair.${key}`, typeof value === 'string' ? value : JSON.stringify(value));
    } catch {
      // Nothing to do: a preference or a resume point is not kept.
    }
  },
});

// The areas are read inside the guard because their very getters throw where storage is forbidden.
const local = guarded(() => localStorage);
const tab = guarded(() => sessionStorage);

export { local, tab };

/** A preference that is one plain word, kept unquoted so that other scripts can read it. */
export function word(key) {
  try {
    return localStorage.getItem(`lemonair.${key}`);
  } catch {
    return null;
  }
}
