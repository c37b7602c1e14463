import { LATER_MS, library, perform, play, url } from './day.mjs'

const { Absurd } = library('absurd-sdk')

async function client (use) {
  const app = new Absurd({ db: url, queueName: 'default' })
  app.registerTask({ name: 'default-job', queue: 'default' }, async ({ does, later }, context) => {
    if (later) await context.sleepFor('later', LATER_MS / 1000)
    await perform(does)
  })
  await use(app)
  await app.close()
}

await play({
  migrate: () => client(async app => {
    await app.createQueue('default')
    await app.createQueue('other')
  }),

  // A task can only be for later once it has been begun, and sleeps. In this order, for jobs that are held let no other by.
  put: jobs => client(async app => {
    const spawn = async some => {
      for (const { does, queue, later } of some) {
        await app.spawn(`${queue}-job`, { does, later }, { queue, ...(does === 'fail' && { maxAttempts: 1 }) })
      }
    }
    const later = jobs.filter(job => job.later)
    await spawn(later)
    if (later.length > 0) await app.workBatch('sleepy', 120, later.length)
    await spawn(jobs.filter(job => !job.later))
  }),

  work: () => client(async app => {
    await app.startWorker({ concurrency: 3, pollInterval: 0.1 })
    await new Promise(() => {}) // until it is killed
  })
})
