(module
  (memory 1 1 shared)
  (func (param i32 i32) (result i32) (i32.atomic.rmw.add (local.get 0) (local.get 1))))

;; Expected:
;; function 0
;; function u0:0(i64 vmctx, i32, i32) -> i32 tail {
;;     region0 = 0 "heap"
;;     region1 = 1 "table"
;;     region2 = 2 "global"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly gv0+8
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;;                                 block0(v0: i64, v1: i32, v2: i32):
;;                                     v7 = load.i64 notrap aligned readonly can_move v0+32
;; @0024                               v4 = iconst.i32 3
;; @0024                               v5 = band v1, v4  ; v4 = 3
;; @0024                               trapnz v5, user13
;; @0024                               v6 = uextend.i64 v1
;; @0024                               v8 = iadd v7, v6
;; @0024                               v9 = atomic_rmw.i32 add v8, v2
;; @0028                               return v9
;; }
;;
;;   pushq %rbp
;;   movq %rsp, %rbp
;; block0:
;;   testl $0x3, %esi
;;   jnz #trap=user13
;;   movq 0x20(%rdi), %r8
;;   movl %esi, %r9d
;;   movq %rdx, %rax
;;   lock xaddl %eax, (%r8, %r9)
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
