// What the programs of the Node libraries share: where their packages are, and what the jobs of the day do.

import { randomUUID } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'

export const library = createRequire(join(process.env.NODE_LIBRARIES, 'day.cjs'))
export const url = process.env.DATABASE_URL
export const LATER_MS = 3_600_000

export async function perform (what) {
  if (what === 'fail') throw new Error('the job was put in to fail')
  if (what === 'hold') {
    writeFileSync(join(process.env.FOLDER, `held-${randomUUID()}`), '')
    await new Promise(() => {}) // until the worker is killed
  }
}

// The program's first argument is one of the roles, the second what it is given.
export async function play (roles) {
  const [role, given] = process.argv.slice(2)
  await roles[role](JSON.parse(given ?? 'null'))
}
