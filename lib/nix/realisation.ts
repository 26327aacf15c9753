// Realisations: to which path an output of a derivation led. Nix up to 2.34 has them as `realisations/<hash>!<output>.doi`, later
// ones as `build-trace-v2/<derivation>/<output>.doi`; each signs a JSON text of its own (nix/src/libstore/realisation.cc).
import type { ObjectName } from './object-name.ts';

export type RealisationName = ObjectName & { readonly kind: 'realisation' | 'build-trace' };

/** A realisation that was read. */
export interface Realisation {
  readonly fields: Readonly<Record<string, unknown>>;
  /** `name:base64` each, whatever the form. */
  readonly sigs: readonly string[];
  /** What signatures are made of: the same for whatever is equal. */
  readonly fingerprint: string;
}

/** Whether the name is of one. */
export function isRealisation(name: ObjectName): name is RealisationName {
  return name.kind === 'realisation' || name.kind === 'build-trace';
}

/** Reads the one of that name; undefined if the text is none. */
export function parseRealisation(name: RealisationName, text: string): Realisation | undefined {
  let fields: unknown;
  try {
    fields = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isObject(fields)) return undefined;
  const { outPath, signatures = [] } = fields;
  if (typeof outPath !== 'string' || !Array.isArray(signatures)) return undefined;
  const sigs = signatures.map(sigOf);
  if (!sigs.every((sig) => sig !== undefined)) return undefined;
  if (name.kind === 'build-trace') {
    const key = { drvPath: name.drv, outputName: name.output };
    return { fields, sigs, fingerprint: JSON.stringify({ key, value: { outPath } }) };
  }
  const { dependentRealisations = {}, id } = fields;
  if (id !== name.id || !isObject(dependentRealisations)) return undefined;
  const dependent = Object.fromEntries(
    Object.entries(dependentRealisations).sort(([a], [b]) => (a < b ? -1 : 1)),
  );
  return { fields, sigs, fingerprint: JSON.stringify({ dependentRealisations: dependent, id, outPath }) };
}

/** The text with those of `sigs` added that it does not have; as it was if it has them all. */
export function withRealisationSigs(
  name: RealisationName,
  text: string,
  { fields, sigs: present }: Realisation,
  sigs: readonly string[],
): string {
  const missing = [...new Set(sigs)].filter((sig) => !present.includes(sig));
  if (missing.length === 0) return text;
  const written = missing.map((sig) => (name.kind === 'build-trace' ? toObject(sig) : sig));
  const { signatures = [] } = fields as { readonly signatures?: readonly unknown[] };
  return JSON.stringify({ ...fields, signatures: [...signatures, ...written] });
}

function sigOf(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  if (!isObject(value)) return undefined;
  const { keyName, sig } = value;
  return typeof keyName === 'string' && typeof sig === 'string' ? `${keyName}:${sig}` : undefined;
}

function toObject(text: string): { readonly keyName: string; readonly sig: string } {
  const colon = text.indexOf(':');
  return { keyName: text.slice(0, colon), sig: text.slice(colon + 1) };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
