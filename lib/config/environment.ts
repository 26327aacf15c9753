// `${NAME}` in a string of the configuration stands for the environment's NAME, so that secrets need not be in the file.
import type { KeyPath } from './lines.ts';
import type { Report } from './report.ts';

const DEEPEST = 8;

/**
 * The parsed file with every reference replaced; `$${` stands for `${` itself. A string that refers to what the environment
 * does not have is noted, and undefined in the result.
 */
export function substitute(
  value: unknown,
  env: Readonly<Record<string, string | undefined>>,
  report: Report,
  path: KeyPath = [],
): unknown {
  // Deeper than any key: such a value is refused as it stands.
  if (path.length > DEEPEST) return value;
  if (typeof value === 'string') return inString(value, env, report, path);
  if (Array.isArray(value)) return value.map((item, i) => substitute(item, env, report, [...path, i]));
  if (typeof value !== 'object' || value === null || value instanceof Date) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, substitute(item, env, report, [...path, key])]),
  );
}

function inString(
  text: string,
  env: Readonly<Record<string, string | undefined>>,
  report: Report,
  path: KeyPath,
): string | undefined {
  let complete = true;
  const replaced = text.replace(/\$?\$\{(\w*)\}?/g, (reference, name: string) => {
    if (reference.startsWith('$$')) return reference.slice(1);
    const found = /^\$\{[A-Za-z_]\w*\}$/.test(reference) ? env[name] : undefined;
    if (found !== undefined) return found;
    complete = false;
    // Only the name is shown: the rest of the text may be a password.
    report.add(path, `found \${${name}}, expected the name of an environment variable that is set`);
    return '';
  });
  if (!complete) return undefined;
  if (replaced !== text) report.conceal(path);
  return replaced;
}
