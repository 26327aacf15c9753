// The table `[signing]`: the keys that sign. Several do so at once while one takes the place of another.
import { array, type Check, choice, table } from './fields.ts';
import type { SigningConfig } from './types.ts';

/** Relative paths are read by `path`. */
export function signing(path: Check<string>): Check<SigningConfig> {
  const check = table({
    key_file: path,
    key_files: array(path, 'an array of files'),
    sign: choice('pushed', 'all'),
  });
  return (value, place) => {
    const values = check(value, place);
    if (values === undefined) return undefined;
    const { key_file: one, key_files: several = [], sign = 'pushed' } = values;
    const isGiven = Object.hasOwn(value as object, 'key_file') || several.length > 0;
    if (!isGiven) place.report.add(place.path, 'found no key, expected key_file or key_files');
    const keyFiles = [one, ...several].filter((file) => file !== undefined);
    return { keyFiles: [...new Set(keyFiles)], sign };
  };
}
