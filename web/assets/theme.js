// Runs before the first paint, hence a classic script in <head>: a chosen theme must not flash the other one.
try {
  const theme = localStorage.getItem('lemonair.theme');
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
} catch {
  // Storage may be forbidden; the system's theme is used then.
}
